package contract

import (
	"testing"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// Sizes is the memory a test asks for. The pool has Buffers buffers of
// BufferSize bytes (a power of two); Large bytes follow it in the mapping, and
// the suite takes the memory of Send and Read from there.
type Sizes struct {
	Buffers    int
	BufferSize int
	Large      int
}

// Harness makes backends and far ends for the suite. Its functions end the test
// when they fail, and clean up with t.Cleanup.
type Harness struct {
	// New makes a backend that is not started. The pool's blocks are the front
	// of the mapping and its recycle function does nothing: the suite itself
	// calls Start, Provide and Close and provides what it released. NewMemory
	// makes both for backends without wishes of their own.
	New func(t testing.TB, s Sizes) (b backend.Backend, pool *sgmsg.Arena, mapping []byte)
	// Pair returns a connected stream on network "tcp" or "unix": fd is the
	// backend's side, not attached.
	Pair func(t testing.TB, b backend.Backend, network string) (fd int, peer Peer)
	// Listen returns a listening descriptor, not attached, its address, and a
	// function that connects to it. Once the descriptor is closed the address
	// refuses connections.
	Listen func(t testing.TB, b backend.Backend, network string) (fd int, addr backend.Addr, dial func() Peer)
	// Share returns another descriptor of a listening descriptor's socket, as another
	// process has it, for another backend. Nil: the backend's sockets cannot be shared.
	Share func(t testing.TB, fd int) int
	// Datagram returns a bound, unconnected datagram descriptor on network
	// "udp", not attached. Nil: the backend has no datagrams to test.
	Datagram func(t testing.TB, b backend.Backend, network string) (fd int, peer PacketPeer)
	// PacketPair returns a connected datagram descriptor, not attached, that is full when
	// its peer does not receive. Nil: there is no such thing.
	PacketPair func(t testing.TB) (fd int, peer PacketPeer)
	// Settle lets everything that is under way arrive: time passes in the
	// simulator. Nil on real sockets, where the kernel is done when a system
	// call returns.
	Settle func(b backend.Backend)
	// Plain takes over a detached stream descriptor, the way net would. Nil:
	// the backend's descriptors mean nothing to anyone else.
	Plain func(t testing.TB, fd int) Peer

	// Discard closes a descriptor that a closed backend left. Nil: nothing to do.
	Discard func(fd int)
	// Virtual says that Wait does not sleep in real time. Tests of sleeping
	// and waking across threads are left out.
	Virtual bool
}

// Peer is the far end of a stream. The test's goroutine uses it between two
// turns.
type Peer interface {
	// Write sends what fits now and does not wait for space: n < len(p) with
	// a nil error, n == 0 included, says that the stream is full.
	Write(p []byte) (n int, err error)
	// Read returns at least one byte, or io.EOF, or an error. It waits some
	// seconds at most (virtual ones in the simulator) and then fails with
	// os.ErrDeadlineExceeded.
	Read(p []byte) (n int, err error)
	// CloseWrite ends the direction towards the backend.
	CloseWrite() error
	// Close closes both directions.
	Close() error
	// Reset ends the connection so that the backend's side fails with
	// ECONNRESET. On a unix socket that takes unread bytes in the far end's
	// queue.
	Reset() error
	// SetReadBuffer asks for a receive buffer of n bytes, so that a sender
	// finds the stream full sooner.
	SetReadBuffer(n int)
}

// PacketPeer is the far end of a datagram socket.
type PacketPeer interface {
	// Addr is its own address.
	Addr() backend.Addr
	// Send sends one datagram to the backend's socket.
	Send(p []byte) error
	// Recv receives one datagram, waiting as Peer.Read does.
	Recv(p []byte) (n int, err error)
	Close() error
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for _, c := range common {
		t.Run(c.name, func(t *testing.T) { c.run(t, h, "tcp") })
	}
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			for _, c := range streams {
				t.Run(c.name, func(t *testing.T) { c.run(t, h, network) })
			}
		})
	}
	t.Run("udp", func(t *testing.T) {
		if h.Datagram == nil {
			t.Skip("the backend has no datagrams")
		}
		for _, c := range datagrams {
			t.Run(c.name, func(t *testing.T) { c.run(t, h, "udp") })
		}
	})
}

type test struct {
	name string
	run  func(t *testing.T, h Harness, network string)
}

// common are the tests that need no stream.
var common = []test{
	{"close at once", testCloseAtOnce},
	{"time-out", testTimeout},
	{"wake before wait", testWakeBefore},
	{"wake during wait", testWakeDuring},
	{"cancel of nothing", testCancelNothing},
}

// streams are run on every stream network.
var streams = []test{
	{"connect", testConnect},
	{"connect refused", testConnectRefused},
	{"connect cancelled", testConnectCancelled},
	{"accept many", testAcceptMany},
	{"accept on a shared socket", testAcceptShared},
	{"names", testNames},

	{"recv order", testRecvOrder},
	{"recv short of buffers", testRecvNoBuffers},
	{"recv without buffers", testRecvNoneAtAll},
	{"recv end", testRecvEOF},
	{"recv end behind bytes", testRecvBytesThenEOF},
	{"recv reset", testRecvReset},
	{"recv many", testRecvMany},
	{"read fills", testReadFills},
	{"read short", testReadShort},
	{"read end", testReadEOF},
	{"recv and read take turns", testRecvReadTurns},

	{"send vector", testSendVector},
	{"send to a full peer", testSendFull},
	{"send after reset", testSendReset},
	{"poll at once", testPollFree},
	{"poll ends on reset", testPollReset},
	{"both ways", testBothWays},

	{"write vector", testWriteVector},
	{"write to a full peer", testWriteFull},
	{"write after reset", testWriteReset},
	{"write beside the loop", testWriteBeside},

	{"cancel idle", testCancelIdle},
	{"cancel unsubmitted", testCancelUnsubmitted},
	{"cancel loses no byte", testCancelKeepsBytes},
	{"cancel of read", testCancelRead},
	{"cancel twice", testCancelTwice},

	{"shutdown write", testShutdownWrite},
	{"shutdown both", testShutdownBoth},
	{"shutdown read", testShutdownRead},
	{"short event slice", testShortSlice},
	{"detach", testDetach},
	{"reattach", testReattach},
	{"close in flight", testCloseInFlight},
	{"random", testRandom},
}

// datagrams are run on datagram sockets.
var datagrams = []test{
	{"recv", testPacketRecv},
	{"truncated", testPacketTruncated},
	{"short of buffers", testPacketNoBuffers},
	{"send", testPacketSend},
	{"send in one piece", testPacketSplit},
	{"send errors", testPacketSendErrors},
	{"full", testPacketFull},
	{"options", testPacketOptions},
	{"error queue", testPacketErrors},
	{"cancel", testPacketCancel},
}
