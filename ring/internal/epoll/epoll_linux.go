package epoll

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

const (
	// maxReady is the number of descriptors one epoll_wait reports.
	maxReady = 256
	// burst is how many buffers or connections one descriptor may yield per Wait
	// before the others have their turn.
	burst = 4
	// packetBurst is burst for datagrams: one is little, and what is answered in a
	// turn leaves with one system call, so more of them pay.
	packetBurst = 32
	// maxCopy bounds the bytes of one system call. 256 KiB take some tens of
	// microseconds, which is how long a collection may have to wait.
	maxCopy = 256 << 10
)

// epoll is the backend. Its state falls in three parts: what is known of each
// descriptor (descs), which of them have something to do (ready), and which
// events are due (due).
//
// Invariants, outside of Wait:
//
//  1. A descriptor with an armed input operation is in the ready list, or not
//     readable. Being readable is a belief that only a short or empty read ends.
//  2. A waiting Poll or Connect means that the descriptor is not writable, and
//     that EPOLLOUT is among its events.
//  3. Every operation is armed at its descriptor, or has its final event in due,
//     or has had it.
type epoll struct {
	backend.DatagramFD
	pool *sgmsg.Arena
	free []sgmsg.BufID // provided buffers; the last released is the warmest

	epfd    int
	descs   []desc // by descriptor number
	reads   reads
	slots   []int32 // descriptor by slot of a key, a cache for Cancel
	ready   list
	due     queue
	out     []backend.Event // the caller's, during Wait
	n       int             // events in out
	woken   bool            // this Wait saw a Wake
	skipped bool            // the last Wait made no system call
	millis  bool            // no epoll_pwait2

	polled [maxReady]unix.EpollEvent
	iov    [backend.MaxVector]unix.Iovec
	hdr    unix.Msghdr
	name   [backend.NameSpace]byte

	stats backend.Stats

	waking atomic.Bool // a Wake was not seen yet
	wakeMu sync.Mutex  // guards evfd against a Wake during Close
	evfd   int
}

// New returns a backend on epoll. Errors wrap the errno of epoll_create1,
// eventfd2 or epoll_ctl: EMFILE, ENFILE, ENOMEM.
func New(cfg backend.Config) (backend.Backend, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: create: %w", err)
	}
	evfd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epfd)
		return nil, fmt.Errorf("epoll: eventfd: %w", err)
	}
	b := &epoll{pool: cfg.Pool, epfd: epfd, evfd: evfd}
	if cfg.Pool != nil {
		b.free = make([]sgmsg.BufID, 0, cfg.Pool.Blocks())
	}
	b.due.ev = make([]backend.Event, 0, max(cfg.Entries, 64))
	b.ready.init()

	// Edge-triggered, so that the counter is never read: each write is an edge.
	ev := unix.EpollEvent{Events: unix.EPOLLIN | edge, Fd: -1}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, evfd, &ev); err != nil {
		b.Close()
		return nil, fmt.Errorf("epoll: register eventfd: %w", err)
	}
	// Nothing is ready, so this returns at once, or says why it cannot.
	if _, e := epollSleep(epfd, b.polled[:], 0); e != 0 && e != syscall.EINTR {
		b.millis = true
	}
	return b, nil
}

func (b *epoll) Name() string { return "epoll" }

func (b *epoll) Notes() []string {
	if b.millis {
		return []string{"timers are rounded up to milliseconds: epoll_pwait2 is missing (Linux 5.11) or forbidden"}
	}
	return nil
}

// Start has nothing to do: epoll is bound to no thread.
func (b *epoll) Start() error { return nil }

func (b *epoll) Close() error {
	b.wakeMu.Lock()
	defer b.wakeMu.Unlock()
	if b.epfd < 0 {
		return nil
	}
	unix.Close(b.evfd)
	err := unix.Close(b.epfd)
	b.epfd, b.evfd = -1, -1
	if err != nil {
		return fmt.Errorf("epoll: close: %w", err)
	}
	return nil
}

// Now implements [backend.Backend].
func (b *epoll) Now() time.Duration { return backend.Now() }

func (b *epoll) Stats() backend.Stats {
	s := b.stats
	s.Syscalls += b.Calls
	return s
}

func (b *epoll) Provide(bufs []sgmsg.BufID) { b.free = append(b.free, bufs...) }

// Wake writes to the eventfd unless a Wake before it did so and was not seen
// yet. Wait clears the mark before it returns, so whatever the caller did before
// Wake is seen by the loop after that Wait.
func (b *epoll) Wake() {
	if b.waking.Swap(true) {
		return
	}
	b.wakeMu.Lock()
	if b.evfd >= 0 {
		sysSignal(b.evfd)
	}
	b.wakeMu.Unlock()
}
