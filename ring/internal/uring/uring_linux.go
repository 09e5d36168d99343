package uring

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/uapi"
	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// ring is the backend. Everything but Wake, Write and Now belongs to the loop's
// thread.
type ring struct {
	backend.DatagramFD
	q       queue
	bufs    bufRing
	scratch scratch
	fixed   fixed
	cfg     backend.Config

	use       Switches
	recvLimit uint32 // of a multishot receive, 0 for none

	accepts  map[backend.Key]*accepting
	inflight int   // operations whose final completion has not been read
	sends    int   // queued operations that complete while they are submitted
	bytes    int   // queued to be sent, and received since the last enter
	fatal    error // returned by the next Wait
	lost     uapi.SQE
	waitArg  uapi.GetEventsArg

	wakes  atomic.Bool // a wake-up is on its way
	woke   bool        // it has arrived
	wakeMu sync.Mutex
	// Guarded by wakeMu where they change: the descriptor, and the ring's own, in Close.
	wakeFD   int
	ringWake bool // Wake needs no descriptor
	closing  bool

	tid   int // of the loop's thread, 0 before Start
	notes []string
	stats backend.Stats
}

const (
	defaultEntries = 256
	maxEntries     = 1 << 15 // IORING_MAX_ENTRIES

	// setupFlags is what the backend cannot do without. Sleeping and running of
	// completions happen in enter on the loop's thread alone (DEFER_TASKRUN,
	// which needs SINGLE_ISSUER), the kernel says in shared memory when an enter
	// would yield something (TASKRUN_FLAG), an entry that fails does not stop
	// those behind it (SUBMIT_ALL), and the ring belongs to the thread that
	// enables it, not to the one that creates it (R_DISABLED).
	setupFlags = uapi.IORING_SETUP_R_DISABLED | uapi.IORING_SETUP_SINGLE_ISSUER |
		uapi.IORING_SETUP_TASKRUN_FLAG |
		uapi.IORING_SETUP_SUBMIT_ALL | uapi.IORING_SETUP_CLAMP | uapi.IORING_SETUP_CQSIZE
)

// required names the features without which the backend does not work.
var required = []struct {
	bit  uint32
	name string
}{
	{uapi.IORING_FEAT_NODROP, "NODROP (Linux 5.5)"},
	{uapi.IORING_FEAT_SUBMIT_STABLE, "SUBMIT_STABLE (Linux 5.5)"},
	{uapi.IORING_FEAT_FAST_POLL, "FAST_POLL (Linux 5.7)"},
	{uapi.IORING_FEAT_EXT_ARG, "EXT_ARG (Linux 5.11)"},
	{uapi.IORING_FEAT_CQE_SKIP, "CQE_SKIP (Linux 5.17)"},
}

// New creates a ring, disabled until Start. The pool must have at most [MaxBuffers]
// blocks (EINVAL). Where the kernel lacks something that is needed, or the system
// forbids io_uring, the error is a [*RefusedError]. New may be called on any thread.
func New(cfg backend.Config, use Switches) (backend.Backend, error) {
	b := &ring{cfg: cfg, use: use, wakeFD: -1, ringWake: use.Has(RingWake)}
	b.q.fd = -1
	if err := b.open(); err != nil {
		b.release()
		return nil, err
	}
	return b, nil
}

func (b *ring) open() error {
	if n := b.cfg.Pool.Blocks(); n > MaxBuffers {
		return fmt.Errorf("io_uring: a buffer ring holds %d buffers, the pool has %d: %w", MaxBuffers, n, syscall.EINVAL)
	}
	entries := b.cfg.Entries
	if entries <= 0 {
		entries = defaultEntries
	}
	entries = min(entries, maxEntries)
	// An operation has at most one completion waiting unless it is a multishot
	// receive, which takes a buffer for each.
	blocks := b.cfg.Pool.Blocks()
	flags := setupFlags
	if b.use.Has(DeferTaskrun) {
		flags |= uapi.IORING_SETUP_DEFER_TASKRUN
	} else {
		flags |= uapi.IORING_SETUP_COOP_TASKRUN
	}
	p := uapi.Params{
		Flags:     flags | uapi.IORING_SETUP_NO_SQARRAY,
		CQEntries: uint32(1) << bits.Len(uint(4*entries+blocks-1)),
	}
	fd, errno := -1, syscall.EINVAL
	if b.use.Has(NoSQArray) {
		fd, errno = uapi.Setup(uint32(entries), &p)
	}
	if errno == syscall.EINVAL { // below 6.6
		p = uapi.Params{Flags: flags, CQEntries: p.CQEntries}
		fd, errno = uapi.Setup(uint32(entries), &p)
	}
	if errno == syscall.EINVAL {
		return &RefusedError{Missing: "DEFER_TASKRUN (Linux 6.1)", Errno: errno}
	}
	if errno != 0 {
		return &RefusedError{Op: "setup", Errno: errno, Bytes: entries*64 + int(p.CQEntries)*16} // of an SQE, and of a CQE
	}
	b.q.fd = fd // closed by release
	for _, f := range required {
		if p.Features&f.bit == 0 {
			return &RefusedError{Missing: f.name, Errno: syscall.EINVAL}
		}
	}
	// A sandbox may allow the setup and forbid the rest. A disabled ring answers
	// EBADFD.
	if _, errno := uapi.EnterRaw(fd, 0, 0); errno != syscall.EBADFD {
		return &RefusedError{Op: "enter", Errno: errno}
	}
	if err := b.q.open(fd, &p); err != nil {
		return refused("map the rings", err)
	}
	if err := b.scratch.open(len(b.q.sqes)); err != nil {
		return fmt.Errorf("io_uring: %w", err)
	}
	if err := b.bufs.open(fd, b.cfg.Pool); err != nil {
		return err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC) // blocking: READ heeds O_NONBLOCK
	if err != nil {
		return fmt.Errorf("io_uring: eventfd: %w", err)
	}
	b.wakeFD = wake
	return nil
}

// Name implements [backend.Backend].
func (b *ring) Name() string { return "io_uring" }

// Notes implements [backend.Backend].
func (b *ring) Notes() []string { return b.notes }

// Stats implements [backend.Backend].
func (b *ring) Stats() backend.Stats {
	s := b.stats
	s.Syscalls += b.Calls
	return s
}

// Now implements [backend.Backend].
func (b *ring) Now() time.Duration { return backend.Now() }

// Provide implements [backend.Backend].
func (b *ring) Provide(bufs []sgmsg.BufID) {
	for _, id := range bufs {
		b.bufs.push(b.cfg.Pool.Block(id))
	}
	b.bufs.publish()
}

// Start implements [backend.Backend]. The calling goroutine must be locked to its
// thread, which becomes the ring's only user.
func (b *ring) Start() error {
	if errno := uapi.EnableRings(b.q.fd); errno != 0 {
		return fmt.Errorf("io_uring: start: %w", errno)
	}
	b.tid = unix.Gettid()
	b.tryRecvLimit()
	if b.use.Has(RegisteredRing) {
		b.q.register()
	}
	if b.use.Has(FixedBuffers) {
		b.registerFixed() // here, so that the pages come from this thread's node
	}
	b.armWake()
	return nil
}
