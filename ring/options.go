package ring

import (
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/internal/budget"
	"github.com/kcm-go/kcm/ring/internal/uring"
	"github.com/kcm-go/kcm/sgmsg"
)

// Backend chooses how a loop moves bytes.
type Backend uint8

const (
	Auto  Backend = iota // io_uring where it works, else epoll
	URing                // io_uring or an error
	Epoll                // epoll
)

func (b Backend) String() string { return [...]string{"auto", "uring", "epoll"}[b] }

// ParseBackend is the inverse of String.
func ParseBackend(s string) (Backend, error) {
	for b := Auto; b <= Epoll; b++ {
		if s == b.String() {
			return b, nil
		}
	}
	return 0, fmt.Errorf("back end %q: want auto, uring or epoll", s)
}

// Options configure one loop. The zero value works.
//
// Memory follows the limit of the control group (memory.max; memory.limit_in_bytes of version 1), if there is
// one: where Buffers and RegionBytes are zero they are halved until what the loop receives into is at most a
// quarter of it, but not below 32 buffers and 1 MiB, and so is a zero SpillBytes, not below 2 MiB.
// Loop.Notes says so. Sizes that with the others are more than the limit are refused (ENOMEM).
// Loops that are made one after the other do not know of each other: give them sizes. Those of
// a mux.Mux share.
type Options struct {
	// Backend: zero is Auto.
	Backend Backend

	// Features switches single features of io_uring and of the loop off or on, to measure what
	// they give or to go round a kernel's fault: a list such as
	// "no-sqarray=off,huge-pages=off". What it does not name is as the default has it; what the
	// kernel lacks stays off. An unknown name is refused with a list of those there are.
	Features string

	// CPU is the processor the loop's thread is pinned to when Pin is set;
	// negative leaves the thread where the scheduler puts it all the same.
	CPU int
	// Pin switches pinning on. Off by default: on a machine shared with other
	// work a pinned loop cannot get out of the way.
	Pin bool

	// Buffers is the number of receive buffers, a power of two, 512 when zero.
	Buffers int
	// BufferSize is the size of one, a power of two of at least 1 KiB, 32 KiB
	// when zero. One receive fills at most one buffer.
	BufferSize int
	// RegionBytes is the memory for the bodies of large messages, each read into
	// one contiguous piece; 24 MiB when zero, none when negative. It bounds the
	// largest message that can be received this way to a power of two not
	// above it.
	RegionBytes int
	// LargeBytes is how much of a message must be missing for its rest to be
	// read into the large region; one BufferSize when zero.
	LargeBytes int
	// SpillBytes is the limit of private memory: replies, and bytes copied out
	// of receive buffers that are short. Address space is reserved, memory is
	// used as needed. 64 MiB when zero.
	SpillBytes int

	// Credit is how many unread bytes one stream may hold before its receive
	// stops and the peer's window closes; 64 KiB, at least two buffers, when
	// zero.
	Credit int
	// SendSoft is the length of a stream's out queue, in bytes, above which its
	// producers are told to wait; one message may cross it. 512 KiB when zero.
	SendSoft int
	// SendHard is the length, with what Push left for the loop, at which the connection
	// is ended with ENOBUFS; 16
	// times SendSoft, at least SendSoft plus 32 MiB, when zero.
	SendHard int
	// SendTimeout ends a connection (ETIMEDOUT) whose peer accepts nothing for so
	// long while bytes wait; none when zero.
	SendTimeout time.Duration
	// Linger is how long a drained connection waits for its peer's end of stream
	// before it is closed, and a drained Packet for room to send; one second when zero.
	Linger time.Duration

	// Spin is the longest time a loop looks for work before it sleeps, traded
	// against a processor's time: the loop uses as much of it as has lately paid.
	// Zero does not spin.
	Spin time.Duration
	// TurnBytes is how many received bytes a turn handles before it looks at the
	// system again; 1 MiB when zero.
	TurnBytes int

	// Name tells the loop from others: in logs, dumps of its state, and profiles, where its
	// goroutine has the label kcm_loop.
	Name string
	// Logger, if not nil, is told of changes of state: the start and the end of the loop,
	// what it has to do without, pauses of its listeners, and when memory is short. What
	// may come often is told five times and then once a second, with the number of those
	// left out. It is called on the loop's thread, so its handler should not block; one that
	// does keeps every stream of the loop waiting.
	Logger *slog.Logger

	use  uring.Switches // Features
	note string         // what the loop has less of than by default, "" for nothing
}

func pow2(n int) bool { return n > 0 && n&(n-1) == 0 }

// CheckFeatures returns the error that New has for Options.Features, or nil.
func CheckFeatures(list string) error {
	_, err := uring.ParseSwitches(list)
	return err
}

// fill replaces zero values by defaults and refuses what cannot work. limit is how much memory
// there may be, in bytes, 0 for any.
func (o *Options) fill(limit int64) error {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	sizes, note, noRoom := budget.Plan(budget.Sizes{
		Buffers: o.Buffers, BufferSize: o.BufferSize, RegionBytes: o.RegionBytes, SpillBytes: o.SpillBytes,
	}, budget.DefaultRegion, 1, limit)
	o.Buffers, o.BufferSize, o.RegionBytes, o.SpillBytes = sizes.Buffers, sizes.BufferSize, sizes.RegionBytes, sizes.SpillBytes
	o.note = note
	def(&o.LargeBytes, o.BufferSize)
	def(&o.Credit, max(64<<10, 2*o.BufferSize))
	def(&o.SendSoft, 512<<10)
	def(&o.SendHard, max(16*o.SendSoft, o.SendSoft+32<<20))
	def(&o.TurnBytes, 1<<20)
	if o.Linger == 0 {
		o.Linger = time.Second
	}
	var err error
	if o.use, err = uring.ParseSwitches(o.Features); err != nil {
		return fmt.Errorf("ring: option Features: %w", err)
	}
	bad := func(name string, v int, want string) error {
		return fmt.Errorf("ring: option %s is %d, want %s: %w", name, v, want, syscall.EINVAL)
	}
	switch {
	case o.Backend > Epoll:
		return bad("Backend", int(o.Backend), "Auto, URing or Epoll")
	case !pow2(o.Buffers) || o.Buffers > 1<<15:
		return bad("Buffers", o.Buffers, "a power of two up to 32768")
	case !pow2(o.BufferSize) || o.BufferSize < 1<<10 || o.BufferSize > 1<<20:
		return bad("BufferSize", o.BufferSize, "a power of two from 1024 to 1048576")
	case o.LargeBytes < 0:
		return bad("LargeBytes", o.LargeBytes, "a positive size")
	case o.SpillBytes < 1<<20 || o.SpillBytes > spillBlock*sgmsg.MaxBlocks:
		return bad("SpillBytes", o.SpillBytes, "1 to 512 MiB")
	case o.RegionBytes > regionBlock*sgmsg.MaxBlocks:
		return bad("RegionBytes", o.RegionBytes, "at most 4 GiB")
	case o.Credit < o.BufferSize:
		return bad("Credit", o.Credit, fmt.Sprintf("at least BufferSize (%d)", o.BufferSize))
	case o.SendSoft < 1:
		return bad("SendSoft", o.SendSoft, "a positive size")
	case o.SendHard < o.SendSoft:
		return bad("SendHard", o.SendHard, fmt.Sprintf("at least SendSoft (%d)", o.SendSoft))
	case o.TurnBytes < 1:
		return bad("TurnBytes", o.TurnBytes, "a positive size")
	case noRoom != nil:
		return fmt.Errorf("ring: %w", noRoom)
	}
	return nil
}
