package ringtest

import (
	"syscall"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// Instant is a backend without a system below, for benchmarks: every Recv is fed
// one buffer with the same bytes at each Wait, every Send succeeds at once. What
// runs over it shows the library's own cost, from completion to send. Open it for
// one loop.
type Instant struct {
	cfg   backend.Config
	frame []byte
	free  []sgmsg.BufID
	recv  []backend.Key
	due   []backend.Event
}

// NewInstant returns a backend whose receives all carry frame, which must fit a
// receive buffer. Receivers must not write into it.
func NewInstant(frame []byte) *Instant { return &Instant{frame: frame} }

// Open is for ring.NewWith.
func (b *Instant) Open(c backend.Config) (backend.Backend, error) {
	b.cfg = c
	for i := range c.Pool.Blocks() {
		copy(c.Pool.Mem()[i*c.Pool.BlockSize():], b.frame)
	}
	return b, nil
}

func (b *Instant) Name() string       { return "instant" }
func (b *Instant) Notes() []string    { return nil }
func (b *Instant) Start() error       { return nil }
func (b *Instant) Close() error       { return nil }
func (b *Instant) Now() time.Duration { return time.Millisecond }
func (b *Instant) Provide(bufs []sgmsg.BufID) {
	b.free = append(b.free, bufs...)
}
func (b *Instant) Socket(int, int) (int, error)           { return -1, syscall.EOPNOTSUPP }
func (b *Instant) Attach(int) error                       { return nil }
func (b *Instant) Detach(int) error                       { return nil }
func (b *Instant) CloseFD(int) error                      { return nil }
func (b *Instant) Shutdown(int, int) error                { return nil }
func (b *Instant) NoDelay(int) error                      { return nil }
func (b *Instant) Names(int) (local, remote backend.Addr) { return }
func (b *Instant) Accept(backend.Key, int)                {}
func (b *Instant) Connect(k backend.Key, _ int, _ *backend.Addr) {
	b.due = append(b.due, backend.Event{Key: k})
}
func (b *Instant) Recv(k backend.Key, _ int)     { b.recv = append(b.recv, k) }
func (b *Instant) Read(backend.Key, int, []byte) {}
func (b *Instant) Poll(backend.Key, int)         {}
func (b *Instant) RecvMsg(backend.Key, int)      {}
func (b *Instant) Wake()                         {}
func (b *Instant) Stats() (st backend.Stats)     { return }
func (b *Instant) Send(k backend.Key, _ int, v []sgmsg.Element) {
	n := 0
	for _, e := range v {
		n += int(e.Len)
	}
	b.due = append(b.due, backend.Event{Key: k, Res: int32(n)})
}

// Write accepts what a Write may take. It is safe on any goroutine.
func (b *Instant) Write(_ int, v []sgmsg.Element) (n int, _ syscall.Errno) {
	for _, e := range v[:min(len(v), backend.WriteElements)] {
		n += int(e.Len)
	}
	return min(n, backend.WriteBytes), 0
}

func (b *Instant) Cancel(k backend.Key) {
	for i, r := range b.recv {
		if r == k {
			b.recv = append(b.recv[:i], b.recv[i+1:]...)
			b.due = append(b.due, backend.Event{Key: k, Res: -int32(syscall.ECANCELED)})
			return
		}
	}
}

func (b *Instant) Wait(ev []backend.Event, _ time.Duration) (int, error) {
	n := copy(ev, b.due)
	b.due = b.due[:copy(b.due, b.due[n:])]
	for _, k := range b.recv {
		if n == len(ev) || len(b.free) == 0 {
			break
		}
		id := b.free[len(b.free)-1]
		b.free = b.free[:len(b.free)-1]
		b.cfg.Pool.Adopt(id)
		ev[n] = backend.Event{Key: k, Res: int32(len(b.frame)), Buf: id, More: true}
		n++
	}
	return n, nil
}

func (b *Instant) SendMsgs(int, []backend.Datagram) (int, syscall.Errno) {
	return 0, syscall.EOPNOTSUPP
}
func (b *Instant) NextError(int, *backend.PacketError) syscall.Errno { return syscall.EAGAIN }
func (b *Instant) SetOption(int, backend.SockOpt, int) syscall.Errno { return syscall.ENOPROTOOPT }
func (b *Instant) Option(int, backend.SockOpt) (int, syscall.Errno)  { return 0, syscall.ENOPROTOOPT }
func (b *Instant) PathMTU(*backend.Addr) (int, syscall.Errno)        { return 0, syscall.EOPNOTSUPP }
