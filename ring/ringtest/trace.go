package ringtest

import (
	"fmt"
	"math/bits"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// did says what a trace record tells.
type did uint8

const (
	didFault did = iota
	didQueue
	didEvent
	didCancel
	didProvide
	didSend
	didArrive
	didReset
	didShutdown
	didOpen
	didClose
	didPeer
	didTimer
)

// record is one line of the trace. It holds numbers only, and none that
// depends on anything but the seed: a buffer appears as its block number, for
// instance, since the upper bits of a BufID are what was free in the process.
type record struct {
	seq  uint64
	at   time.Duration
	key  backend.Key
	a, b int64
	fd   int32
	loop int16
	what did
}

// note adds a record to the trace and its hash. It is also the mark of
// progress: as long as records are added, something happens.
func (s *Sim) note(r record) {
	s.idle = false
	s.seq++
	r.seq, r.at = s.seq, s.now
	s.lines[s.seq%uint64(len(s.lines))] = r
	h := s.hash
	h = fold(h, uint64(r.at))
	h = fold(h, uint64(r.key))
	h = fold(h, uint64(r.a))
	h = fold(h, uint64(r.b))
	h = fold(h, uint64(r.fd)<<32|uint64(uint16(r.loop))<<8|uint64(r.what))
	s.hash = h
}

// fold mixes x into h with the multiply-and-fold step of wyhash (Wang Yi).
func fold(h, x uint64) uint64 {
	hi, lo := bits.Mul64(h^0x9e3779b97f4a7c15, x^0xe7037ed1a0b428db)
	return hi ^ lo ^ bits.RotateLeft64(h, 23)
}

// Hash returns a hash of everything that has happened. Two runs with one seed,
// the same options and the same program have the same hash.
func (s *Sim) Hash() uint64 { return s.hash }

// Trace returns the last records, oldest first, at most Options.TraceLines.
func (s *Sim) Trace() []string {
	n := min(s.seq, uint64(len(s.lines)))
	out := make([]string, 0, n)
	for i := s.seq - n + 1; i <= s.seq; i++ {
		out = append(out, s.lines[i%uint64(len(s.lines))].String())
	}
	return out
}

func (r record) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%6d %10v ", r.seq, r.at)
	if r.loop >= 0 && r.key != 0 {
		fmt.Fprintf(&b, "loop %d %v %d.%d ", r.loop, opName(r.key), r.key.Slot(), r.key.Gen())
	}
	if r.fd > 0 {
		fmt.Fprintf(&b, "fd %d ", r.fd-firstFD)
	}
	switch r.what {
	case didFault:
		fmt.Fprintf(&b, "fault: %v", Fault(r.a))
	case didQueue:
		b.WriteString("queued")
	case didEvent:
		fmt.Fprintf(&b, "event %s", result(r.a))
		if r.b>>1 > 0 {
			fmt.Fprintf(&b, " block %d", r.b>>1-1)
		}
		if r.b&1 == 0 {
			b.WriteString(" final")
		}
	case didCancel:
		b.WriteString([...]string{"cancel asked", "cancel takes effect"}[r.a])
	case didProvide:
		fmt.Fprintf(&b, "loop %d provided %d buffers", r.loop, r.a)
	case didSend:
		fmt.Fprintf(&b, "sent %d bytes, room for %d left", r.a, r.b)
	case didArrive:
		fmt.Fprintf(&b, "%d bytes arrive", r.a)
		if r.b != 0 {
			b.WriteString(" and the end")
		}
	case didReset:
		b.WriteString("is reset")
	case didShutdown:
		fmt.Fprintf(&b, "shutdown %s", [...]string{"rd", "wr", "rdwr"}[r.a])
	case didOpen:
		b.WriteString("opened")
	case didClose:
		b.WriteString("closed")
	case didPeer:
		fmt.Fprintf(&b, "peer took %d bytes", r.a)
	case didTimer:
		b.WriteString("timer of the test")
	}
	return b.String()
}

func opName(k backend.Key) string {
	if k.Op() > backend.OpRecvMsg {
		return fmt.Sprintf("op%d", k.Op())
	}
	return k.Op().String()
}

func result(n int64) string {
	if n < 0 {
		return "error: " + syscall.Errno(-n).Error()
	}
	return fmt.Sprint(n)
}

// Dump returns the seed and the last records, for a failed test's log.
func (s *Sim) Dump() string {
	lines := s.Trace()
	return fmt.Sprintf("seed %d, %d records, the last %d:\n%s",
		s.seed, s.seq, len(lines), strings.Join(lines, "\n"))
}

// LogOnFailure prints Dump at the end of the test if it failed.
func (s *Sim) LogOnFailure(t testing.TB) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Dump())
		}
	})
}

// violation reports that the program under test broke its side of the contract.
func (s *Sim) violation(format string, args ...any) {
	panic("ringtest: " + fmt.Sprintf(format, args...) + "\n" + s.Dump())
}
