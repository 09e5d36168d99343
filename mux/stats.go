package mux

import "github.com/kcm-go/kcm/strparser"

// Stats are counters of a Mux. Totals since it was made, connections that have
// ended included.
type Stats struct {
	Opened, Closed uint64 // connections
	Psocks         int    // connections open now
	Refused        uint64 // connections closed on arrival because of MaxPsocks or MaxPsocksPerPeer

	RxMessages, RxBytes uint64 // delivered by parsers; stream bytes consumed
	RxDrops             uint64 // of which a handler said Drop
	TxMessages, TxBytes uint64 // of sockets: taken whole by connections; else queued by Psock.Send and the like
	LostMessages        uint64 // taken by Send and refused, or, with OnLost only, not wholly accepted by the kernel
	LostBytes           uint64 // queued by Send and not accepted by the kernel
	Pauses              uint64 // times a connection was made to wait, for an out queue or for readers
	Parks               uint64 // of which for readers: a message found no room

	// Of messages sent by sockets.
	TxRetries            uint64 // times they began again on another connection
	TxDiscarded          uint64 // discarded by the end of their socket
	TxAborts             uint64 // connections that ended for a cause or inside a message
	Reserved, Unreserved uint64 // connections, for a burst each
	Unsent               int    // waiting now

	Unattached         uint64 // connections given back by Detach or Unattach
	UnattachedReserved uint64 // of which by Unattach while a socket was sending on it
	RxReadyDrops       uint64 // messages that Unattach dropped because they were parked

	// Of messages passed to the workers.
	Received  uint64     // handled by readers, dropped behind an End, or in hands by Recv
	Rejected  uint64     // of which OnReject got
	Slow      uint64     // calls of Work functions that took longer than SlowHandler
	Stolen    uint64     // times a reader joined another one's batch
	RxDropped uint64     // of which RecvMsg had read a part when their socket was closed
	Discarded uint64     // dropped by Close before a reader had them
	Queued    int        // waiting now
	Delay     DelayStats // how long they waited

	Parser strparser.Aggregate
}

func (s *Stats) add(o *Stats) {
	s.Opened += o.Opened
	s.Closed += o.Closed
	s.Psocks += o.Psocks
	s.RxDrops += o.RxDrops
	s.TxMessages += o.TxMessages
	s.TxBytes += o.TxBytes
	s.LostMessages += o.LostMessages
	s.LostBytes += o.LostBytes
	s.Pauses += o.Pauses
	s.Parks += o.Parks
	s.Unattached += o.Unattached
	s.RxReadyDrops += o.RxReadyDrops
	s.Parser.Add(&o.Parser)
}

// shardStats are the counters of the hot path, of one loop.
type shardStats struct {
	rxDrops             uint64
	txMessages, txBytes uint64
	pauses, opened      uint64
	parks               uint64
	unattached          uint64
	rxReadyDrops        uint64
}

func (s *shardStats) public() Stats {
	return Stats{
		RxDrops:    s.rxDrops,
		TxMessages: s.txMessages, TxBytes: s.txBytes,
		Pauses: s.pauses, Parks: s.parks, Opened: s.opened, Unattached: s.unattached, RxReadyDrops: s.rxReadyDrops,
	}
}

// Stats returns the counters, loop by loop: each loop's are consistent in
// themselves. It asks the loops and so blocks for a turn of each. On a loop's thread, in a
// handler for example, it does not wait: what it says of connections is that loop's alone.
func (m *Mux) Stats() Stats {
	var sum Stats
	for _, sh := range m.shards {
		var st Stats
		take := func() {
			st = sh.retired
			live := sh.stats.public()
			st.add(&live)
			st.Psocks = len(sh.psocks)
			for _, p := range sh.psocks {
				st.Parser.Save(p.parser.Stats())
			}
		}
		sh.ask(take)
		sum.add(&st)
	}
	m.steer.report(&sum)
	m.tx.report(&sum)
	sum.TxMessages += m.sent.messages.Load()
	sum.TxBytes += m.sent.bytes.Load()
	sum.LostMessages += m.lostDirect.Load()
	sum.Refused = m.guests.refused.Load()
	sum.RxMessages, sum.RxBytes = sum.Parser.Messages, sum.Parser.Bytes
	return sum
}
