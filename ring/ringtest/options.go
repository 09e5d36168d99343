package ringtest

import "time"

// Options describe the network and how hostile it and the kernel are. The zero
// value is [Calm].
type Options struct {
	// Latency is the longest time a segment takes one way; each takes a random
	// part of it. Zero means 100 microseconds.
	Latency time.Duration
	// Delay is the longest time a fault holds something back. Zero means 20
	// times Latency.
	Delay time.Duration
	// StreamBytes is the capacity of one direction of a stream: what was sent
	// and is not yet read. Zero means 64 KiB.
	StreamBytes int
	// PacketBytes is the capacity of a datagram socket's receive queue; what
	// does not fit is lost. Zero means 64 KiB.
	PacketBytes int
	// Backlog is the number of connections that wait to be accepted; a further
	// one is refused. Zero means 128.
	Backlog int
	// Odds is the probability of each fault, per opportunity.
	Odds Odds
	// Swarm lets every seed choose, for each fault, whether it is off, as
	// likely as Odds says, or three times as likely. A mixture of everything
	// hides what only a few faults together provoke.
	Swarm bool
	// TraceLines is the number of trace records kept for [Sim.Trace]. Zero
	// means 256. The hash covers all of them in any case.
	TraceLines int
}

// Calm returns the options of a kind system: nothing is short, late or lost.
func Calm() Options { return Options{} }

// Storm returns options with every fault. A caller whose expectations do not
// allow some of them sets these odds to zero.
func Storm() Options {
	return Options{
		StreamBytes: 8 << 10,
		PacketBytes: 16 << 10,
		Swarm:       true,
		Odds: Odds{
			ShortRecv:      0.2,
			TinyRecv:       0.05,
			ShortRead:      0.1,
			NoBuffers:      0.02,
			AnyBuffer:      0.3,
			EndMultishot:   0.05,
			EndAccept:      0.1,
			PauseRecv:      0.1,
			ShortSend:      0.1,
			SendAgain:      0.05,
			LateSend:       0.1,
			PollHint:       0.1,
			LazyPoll:       0.2,
			LateCancel:     0.5,
			DelayEvent:     0.1,
			Reorder:        0.3,
			PartialWait:    0.1,
			Spurious:       0.05,
			EarlySubmit:    0.1,
			SplitSegment:   0.2,
			SlowSegment:    0.05,
			Reset:          0.001,
			ResetDrops:     0.5,
			Refuse:         0.05,
			SlowConnect:    0.1,
			AcceptError:    0.05,
			SkipTurn:       0.1,
			Lag:            0.1,
			LosePacket:     0.05,
			DoublePacket:   0.05,
			OvertakePacket: 0.1,
			RefuseSplit:    0.1,
			JoinPackets:    0.5,
		},
	}
}

func (o Options) withDefaults() Options {
	if o.Latency <= 0 {
		o.Latency = 100 * time.Microsecond
	}
	if o.Delay <= 0 {
		o.Delay = 20 * o.Latency
	}
	if o.StreamBytes <= 0 {
		o.StreamBytes = 64 << 10
	}
	if o.PacketBytes <= 0 {
		o.PacketBytes = 64 << 10
	}
	if o.Backlog <= 0 {
		o.Backlog = 128
	}
	if o.TraceLines <= 0 {
		o.TraceLines = 256
	}
	return o
}
