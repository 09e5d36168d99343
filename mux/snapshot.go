package mux

import (
	"cmp"
	"net"
	"slices"

	"github.com/kcm-go/kcm/strparser"
)

// Snapshot is a Mux as it is now: its totals, and a row for each socket and connection, by
// index. [WriteKCM] writes it as the kernel's /proc/net/kcm.
//
// Rows of connections are consistent in themselves, and so are the receiving and the sending
// columns of all sockets; the parts are taken one after the other.
type Snapshot struct {
	Stats   Stats
	Sockets []SocketStats
	Psocks  []PsockStats
}

// SocketStats is one socket.
type SocketStats struct {
	Index int
	Type  SocketType

	RxMessages, RxBytes uint64 // received: messages whose handling has ended, bytes of them or copied
	RecvQueue           int    // messages it has queued, with the policy FIFO
	RecvBytes           int    // charged to it for these
	RxWait              bool   // FIFO: it waits for its turn
	RxDisabled          bool

	TxMessages, TxBytes uint64 // queued, and accepted from the user, those that are gone included
	TxRetries           uint64 // times messages of it began again on another connection
	TxDiscarded         uint64 // messages that Close discarded
	SendQueue           int    // messages that no connection has taken yet
	SendBytes           int    // charged to it for these, and for an open one
	Senders             int    // goroutines that wait for room
	Psock               int    // connection that it has reserved, -1: none
	TxWait              bool   // it waits for one
	WMore               bool   // a batch is being collected
}

// PsockStats is one connection.
type PsockStats struct {
	Index  int
	Remote net.Addr
	State  PsockState
	Err    error // why it is ending

	Parser    strparser.Stats
	Need      int  // bytes that the message in progress lacks, 0 when that is not known
	RecvQueue int  // bytes received and not looked at
	RxStop    bool // nothing more is received
	RxPause   bool // it is made to wait
	RdyRx     bool // parked: it waits with a message for a reader

	TxMessages           uint64 // of sockets, taken whole
	TxBytes              uint64 // accepted by the kernel, whoever sent them
	Reserved, Unreserved uint64 // by sockets
	TxAborts             uint64 // 1 when it ended for a cause, or inside a message
	SendQueue            int    // bytes queued and not accepted
	Socket               int    // that has reserved it, -1: none
	TxStop               bool   // sockets send nothing more on it
}

// Snapshot takes one. Like Stats it asks the loops, and blocks for a turn of each; on a loop's
// thread it has that loop's connections alone.
func (m *Mux) Snapshot() Snapshot {
	s := Snapshot{Stats: m.Stats()}
	rows := map[*Psock]*psockRow{}
	for _, sh := range m.shards {
		sh.ask(func() {
			for _, p := range sh.psocks {
				rows[p] = p.row()
			}
		})
	}
	sockets := map[*Socket]*SocketStats{}
	m.steer.snapshot(sockets, rows)
	m.tx.snapshot(sockets, rows)
	for _, r := range sockets {
		s.Sockets = append(s.Sockets, *r)
	}
	for _, r := range rows {
		s.Psocks = append(s.Psocks, r.PsockStats)
	}
	slices.SortFunc(s.Sockets, func(a, b SocketStats) int { return cmp.Compare(a.Index, b.Index) })
	slices.SortFunc(s.Psocks, func(a, b PsockStats) int { return cmp.Compare(a.Index, b.Index) })
	return s
}

// ask runs fn on the shard's loop, or here once that has ended. On another loop's thread it
// does nothing: two that waited for each other would for ever.
func (sh *shard) ask(fn func()) {
	switch {
	case sh.loop.OnThread():
		fn()
	case sh.mux.onThread():
	case sh.loop.Do(fn) != nil:
		fn()
	}
}

// psockRow is a row that is being made.
type psockRow struct {
	PsockStats
	sending *sending
	flow    *flow
}

// row is what the loop knows of a connection.
func (p *Psock) row() *psockRow {
	return &psockRow{sending: p.sending, flow: p.flow, PsockStats: PsockStats{
		Index: p.Index(), Remote: p.RemoteAddr(), State: p.State(), Err: p.Err(),
		Parser: p.parser.Stats(), Need: p.parser.Need(), RecvQueue: p.stream.Readable(),
		RxStop: p.parser.Stopped(), RxPause: p.parser.Paused(),
		TxBytes: p.stream.Written(), SendQueue: p.stream.Queued() + p.stream.Pushed(),
		Socket: -1, TxStop: p.leaving || !p.shared,
	}}
}

// snapshot fills in the receiving side.
func (st *steer) snapshot(sockets map[*Socket]*SocketStats, rows map[*Psock]*psockRow) {
	st.lock()
	defer st.unlock()
	for _, s := range st.sockets {
		r := &SocketStats{
			Index: s.index, Type: s.kind, Psock: -1, RxDisabled: s.disabled,
			RxMessages: s.rx.messages, RxBytes: s.rx.bytes,
		}
		sockets[s] = r
		if !st.fifo {
			continue
		}
		r.RecvBytes = int(s.own.charge.Load())
		r.RxWait = s.state == inWaiters
		for _, b := range [...]*burst{s.own.ready.head, s.own.resumed.head} {
			for ; b != nil; b = b.next {
				r.RecvQueue += b.rest()
			}
		}
	}
	for _, r := range rows {
		last := r.flow.backlog.tail
		r.RdyRx = last != nil && last.parked
	}
	for b := st.parked.head; b != nil; b = b.next {
		if r := rows[b.psock]; r != nil {
			r.RdyRx = true
		}
	}
}

// snapshot fills in the sending side.
func (tx *transmit) snapshot(sockets map[*Socket]*SocketStats, rows map[*Psock]*psockRow) {
	tx.lock()
	defer tx.unlock()
	for s, r := range sockets {
		o := &s.out
		r.TxMessages, r.TxBytes, r.TxRetries, r.TxDiscarded = o.stats.messages, o.stats.bytes, o.stats.retries, o.stats.discarded
		r.SendQueue, r.SendBytes = o.waiting(), int(o.unsent)
		r.TxWait, r.WMore = o.waits, o.more
		if o.psock != nil {
			r.Psock = o.psock.psock.Index()
		}
		for w := o.senders.head; w != nil; w = w.next {
			r.Senders++
		}
	}
	for _, r := range rows {
		k := r.sending
		if k == nil {
			continue
		}
		r.TxMessages, r.Reserved, r.Unreserved, r.TxAborts = k.stats.messages, k.stats.reserved, k.stats.unreserved, k.stats.aborts
		r.TxStop = k.state == sendingStopped
		if k.holder != nil {
			r.Socket = k.holder.index
		}
	}
}

// report adds the totals to a snapshot's.
func (tx *transmit) report(s *Stats) {
	tx.lock()
	defer tx.unlock()
	st := &tx.stats
	s.TxMessages += st.messages
	s.TxBytes += st.bytes
	s.TxRetries, s.TxDiscarded, s.TxAborts = st.retries, st.discarded, st.aborts
	s.Reserved, s.Unreserved, s.UnattachedReserved = st.reserved, st.unreserved, st.unattached
	for _, x := range tx.sockets {
		s.Unsent += x.out.waiting()
	}
}
