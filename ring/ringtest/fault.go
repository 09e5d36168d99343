package ringtest

// Fault is one way in which the simulator departs from the kindest behaviour.
// All of them are legal under the contract of a back end.
type Fault uint8

const (
	ShortRecv      Fault = iota // a receive ends at any byte of what has arrived
	TinyRecv                    // a receive carries one to three bytes
	ShortRead                   // a Read ends before its memory is full
	NoBuffers                   // a receive ends with ENOBUFS although buffers are there
	AnyBuffer                   // provided buffers are used in any order
	EndMultishot                // a receive ends after a good event
	EndAccept                   // an accept ends after a good event
	PauseRecv                   // a receive leaves arrived bytes in the stream for a while
	ShortSend                   // a send or write accepts less than there is room for
	SendAgain                   // a send, write or datagram gets EAGAIN although there is room
	LateSend                    // a send looks at its memory some time after submission
	PollHint                    // a poll reports write space that is not there
	LazyPoll                    // a poll waits for a quarter of the capacity
	LateCancel                  // a cancel takes effect later; events go on, or win
	DelayEvent                  // an event, and what follows it in its operation, is held back
	Reorder                     // an event overtakes those of other operations
	PartialWait                 // a Wait returns only some of the due events
	Spurious                    // a Wait returns without an event, as by a signal
	EarlySubmit                 // what is queued is submitted before Wait
	SplitSegment                // bytes of one send arrive in pieces
	SlowSegment                 // bytes, and all behind them, arrive late
	Reset                       // a connection dies, per segment
	ResetDrops                  // a reset destroys arrived bytes that are unread
	Refuse                      // a connection is refused
	SlowConnect                 // a connection takes long
	AcceptError                 // an accept reports EMFILE and goes on
	SkipTurn                    // Step leaves out a turn
	Lag                         // time jumps beyond the next thing to happen
	LosePacket                  // a datagram is lost
	DoublePacket                // a datagram arrives twice
	OvertakePacket              // a datagram arrives late, behind younger ones
	RefuseSplit                 // datagrams in one piece are refused
	JoinPackets                 // datagrams of one sender are received in one piece, where that is asked for
	NumFaults                   // the number of faults
)

var faultNames = [NumFaults]string{
	"short recv", "tiny recv", "short read", "no buffers", "any buffer",
	"end multishot", "end accept", "pause recv", "short send", "send again", "late send",
	"poll hint", "lazy poll", "late cancel", "delay event", "reorder",
	"partial wait", "spurious", "early submit", "split segment", "slow segment",
	"reset", "reset drops", "refuse", "slow connect", "accept error",
	"skip turn", "lag", "lose packet", "double packet", "overtake packet", "refuse split", "join packets",
}

func (f Fault) String() string { return faultNames[f] }

// Odds holds a probability from 0 to 1 for each fault.
type Odds [NumFaults]float64

// Hits returns how often the fault has happened.
func (s *Sim) Hits(f Fault) int { return s.hits[f] }

// hit draws whether a fault happens now. A fault that is off draws nothing.
func (s *Sim) hit(f Fault) bool {
	p := s.opt.Odds[f]
	if p == 0 || s.rng.Float64() >= p {
		return false
	}
	s.hits[f]++
	s.note(record{what: didFault, a: int64(f)})
	return true
}

// swarm lets the seed choose which faults there are.
func (s *Sim) swarm() {
	for f := range s.opt.Odds {
		switch p := &s.opt.Odds[f]; s.rng.IntN(4) {
		case 0:
			*p = 0
		case 1:
			*p = min(3**p, max(*p, 0.5))
		}
	}
}

// upTo returns a random whole number from 1 to n.
func (s *Sim) upTo(n int) int { return 1 + s.rng.IntN(n) }
