package backend

import (
	"net/netip"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/sgmsg"
)

// Op says what an operation does. It is part of its Key.
type Op uint8

const (
	OpNone    Op = iota
	OpAccept     // multishot: connections of a listening socket
	OpConnect    // one event: 0 or an error
	OpRecv       // multishot: bytes of a stream into provided buffers
	OpRead       // one event: bytes of a stream into given memory
	OpSend       // one event: bytes accepted by the stream
	OpPoll       // one event: the stream has write space, or failed
	OpRecvMsg    // multishot: datagrams into provided buffers
)

func (o Op) String() string {
	return [...]string{"none", "accept", "connect", "recv", "read", "send", "poll", "recvmsg"}[o]
}

// Key identifies an operation. A loop never has two operations with one key in
// flight.
//
//	63      56 55            32 31             0
//	|   op   |  generation     |     slot      |
//
// The slot is an index into the loop's endpoint table and never a pointer; the
// generation tells a reused slot's events from its predecessor's.
type Key uint64

// MakeKey packs a key. gen is taken modulo 2^24.
func MakeKey(op Op, gen, slot uint32) Key {
	return Key(op)<<56 | Key(gen&0xffffff)<<32 | Key(slot)
}

func (k Key) Op() Op       { return Op(k >> 56) }
func (k Key) Gen() uint32  { return uint32(k>>32) & 0xffffff }
func (k Key) Slot() uint32 { return uint32(k) }

// Event is one completion.
type Event struct {
	Key  Key
	Res  int32       // >= 0: a byte count or descriptor; < 0: a negative errno
	Buf  sgmsg.BufID // OpRecv and OpRecvMsg: the filled buffer, if any
	More bool        // the operation goes on; false exactly once, in its last event
}

// Err returns the error of the event, or 0.
func (e *Event) Err() syscall.Errno {
	if e.Res < 0 {
		return syscall.Errno(-e.Res)
	}
	return 0
}

// Addr is the address of a stream or datagram peer: an IP and port, or the path
// of a unix socket ("" for an unnamed one, a leading "@" for the abstract name
// space).
type Addr struct {
	IP   netip.AddrPort
	Path string
}

// IsUnix reports whether the address is of a unix socket.
func (a Addr) IsUnix() bool { return !a.IP.IsValid() }

// Stats are counters since Start. They are read on the loop's thread.
type Stats struct {
	Waits      uint64 // calls of Wait
	Syscalls   uint64 // system calls made by the backend
	Sleeps     uint64 // Waits that may have slept
	NoBuffers  uint64 // receives ended because no buffer was provided (ENOBUFS)
	Overflows  uint64 // completion queue overflows
	Interrupts uint64 // waits ended by a signal
}

// Config is what a loop gives its backend at creation.
type Config struct {
	// Pool is the receive arena. Each of its blocks is one provided buffer. The
	// backend adopts a block (Pool.Adopt) when it hands it out in an event.
	Pool *sgmsg.Arena
	// Mapping is the whole off-heap mapping that holds the pool and the large
	// region. A backend that can registers it with the kernel for [OpRead]; one
	// that cannot (memlock) goes on without and says so in Notes.
	Mapping []byte
	// Entries is the number of operations that can be queued per turn without
	// an early submission; a hint.
	Entries int
	// RecvBytes is after how many bytes a Recv should end, so that what one stream gets
	// in a turn has a limit; 0: it may go on for ever. A hint.
	RecvBytes int
}

// Backend moves bytes for one loop.
//
// All methods except Wake, Write and Now are called on the loop's thread (in the
// simulator: by the goroutine that drives the turn), New and Close possibly on
// another one, never concurrently. No method except Wait blocks. Wake may be called
// from any goroutine at any time until Close returned, Now at any time, Write as
// its text says.
//
// # Operations
//
// Accept, Connect, Recv, Read, Send, Poll and RecvMsg queue an operation. None of them fails: what goes wrong comes as the operation's final
// event. For one descriptor at most one operation of each kind is in flight,
// and of Recv and Read only one of the two. The descriptor was made known by
// Attach (listening sockets too) and is not closed before all its operations
// have had their final event.
//
// # Order
//
//   - Events of one operation come in the order in which they happened. The
//     bytes of a stream are the concatenation of the events of its Recv and
//     Read operations, in order.
//   - Events of different operations come in any order.
//   - An event may be delivered by a later Wait than the first possible one, but
//     not held back while Wait sleeps.
//
// # Memory
//
// A slice or element given to an operation (the memory of Read, the elements of
// Send) must stay valid and unchanged until the operation's final event; the
// element slice itself and a *Addr are consumed by the call. Memory the kernel
// may touch is never on the Go heap (except in race builds, where the pool is
// heap memory so that the detector sees it).
type Backend interface {
	// Name is "io_uring", "epoll" or "sim".
	Name() string
	// Notes says in one line each what is degraded or switched off and why.
	Notes() []string

	// Start is called once, on the loop's thread, before anything else that is
	// said to run there.
	Start() error
	// Close releases everything but the descriptors, which the loop has closed
	// or given away, and the pool. In-flight operations are forgotten: after
	// Close returned the kernel touches no memory of Config any more.
	Close() error

	// Now is the loop's clock: monotonic, with an arbitrary zero that is the same
	// for all loops of a process. Safe on any goroutine, except in the simulator,
	// where time is virtual and everything is done by hand.
	Now() time.Duration

	// Provide gives empty pool buffers for Recv and RecvMsg. A buffer comes
	// back in exactly one event (adopted: one reference, held by the receiver
	// of the event) or stays with the backend until Close.
	Provide(bufs []sgmsg.BufID)

	// Socket opens a socket (AF_INET, AF_INET6, AF_UNIX; SOCK_STREAM or
	// SOCK_DGRAM), close-on-exec, not yet attached.
	Socket(family, sotype int) (fd int, err error)
	// Attach makes a descriptor known; Detach makes it unknown again without
	// closing it, in non-blocking mode, as net wants it. CloseFD detaches and
	// closes.
	Attach(fd int) error
	Detach(fd int) error
	CloseFD(fd int) error
	// Shutdown is shutdown(2) with SHUT_RD, SHUT_WR or SHUT_RDWR. Pending
	// operations see its effect: a Recv ends with 0 or an error.
	Shutdown(fd, how int) error
	// NoDelay switches Nagle's algorithm off; ENOTSUP or EOPNOTSUPP on a unix
	// socket is for the caller to ignore.
	NoDelay(fd int) error
	// Names returns the local and the remote address; zero where there is none.
	Names(fd int) (local, remote Addr)

	// Accept: each event with Res >= 0 is a new connection (close-on-exec, not
	// attached). An error may or may not end it (More tells). Where others accept from
	// the same socket, -ECANCELED comes behind all connections that this Accept alone
	// was told of.
	Accept(k Key, fd int)
	// Connect: Res 0 or an error. to is consumed by the call. While another connect of
	// the socket is under way it waits for that one, or ends with -EALREADY.
	Connect(k Key, fd int, to *Addr)

	// Recv: an event with Res > 0 carries Res bytes at the start of Buf. Res 0
	// is the end of the stream and final. -ENOBUFS (no buffer provided) and any
	// other error are final; no byte is lost by them: a later Recv goes on. An
	// event with bytes may be final too (More false): the loop queues Recv
	// again if it wants more.
	Recv(k Key, fd int)
	// Read receives into mem: Res > 0 bytes (1 to len(mem)), 0 at the end of the
	// stream, or an error. It ends with the bytes that are there when it looks and
	// does not wait for more. Cancelled after some bytes it reports those.
	Read(k Key, fd int, mem []byte)
	// Send writes the elements in order, without waiting for write space: Res >
	// 0 bytes accepted (perhaps fewer than given), -EAGAIN when none, or an
	// error; never 0. It raises no SIGPIPE.
	Send(k Key, fd int, v []sgmsg.Element)
	// Poll: Res 0 when the stream may have write space (a hint) or when a Send
	// would fail at once; of a datagram socket also when its error queue holds something.
	Poll(k Key, fd int)

	// Write is no operation: it writes the elements in order at once, without
	// waiting for write space, on the caller's goroutine, which may be any, also
	// while the loop is in another method. It takes at most WriteElements elements
	// and WriteBytes bytes of them, and returns how many bytes the stream accepted
	// (at least one; perhaps fewer than taken) or an error, EAGAIN when none. It
	// raises no SIGPIPE and keeps nothing of v.
	//
	// Of one descriptor at most one Write runs at a time, never with a Send or Poll
	// in flight and never beside Shutdown, Detach or CloseFD. A Write may come after
	// Close while the descriptor is open. In the simulator it is by hand like the
	// rest.
	Write(fd int, v []sgmsg.Element) (n int, errno syscall.Errno)

	// RecvMsg: each event's Buf holds, as io_uring lays out a multishot
	// recvmsg: a 16-byte header of four native-endian uint32 (name length,
	// control length, payload length, flags as in msg_flags), then NameSpace
	// bytes for the sockaddr, ControlSpace bytes for control messages, then the
	// payload. Res counts all of it. Ends like Recv; never with 0. Descriptors that came
	// with a datagram are closed.
	RecvMsg(k Key, fd int)
	Datagrams

	// Cancel asks the operation to end. Its final event still comes, with
	// -ECANCELED or with what happened first; events already due come before
	// it. Cancelling an operation that is not in flight does nothing.
	Cancel(k Key)

	// Wait submits what is queued and fills events, waiting until there is at
	// least one, at most timeout (negative: no limit; 0: does not sleep). It
	// returns 0 events on time-out, on Wake and on a signal. A Wake between two
	// Waits ends the next one. An error is fatal for the loop.
	Wait(events []Event, timeout time.Duration) (n int, err error)
	// Wake ends a Wait from any goroutine.
	Wake()

	// Stats returns the counters.
	Stats() Stats
}

const (
	// MaxVector is the largest number of elements of one Send.
	MaxVector = 64
	// WriteElements and WriteBytes bound what one Write takes: few, since it copies
	// on a thread that others may wait for.
	WriteElements = 8
	WriteBytes    = 64 << 10
	// NameSpace and ControlSpace are the fixed areas in a RecvMsg buffer.
	NameSpace    = 112 // sizeof(struct sockaddr_un) rounded up to 16
	ControlSpace = 128
	// PacketOverhead is where the payload starts in a RecvMsg buffer.
	PacketOverhead = 16 + NameSpace + ControlSpace
)
