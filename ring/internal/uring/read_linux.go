package uring

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/uapi"
	"github.com/kcm-go/kcm/ring/internal/backend"
)

// Three ways for [backend.OpRead] to receive into given memory were measured with a sender
// that always has more (Linux 6.18, loopback TCP, 64 KiB to 1 MiB, BenchmarkRead). They cost
// the receiving thread the same within the noise, for the work is the copy:
//
//   - RECV takes what is there: 1.0 to 2.5 completions per fill.
//   - RECV with MSG_WAITALL needs one completion. But a peer that drips bytes drives
//     the kernel to its limit of 128 polls for one operation; it then hands the
//     receive to a worker thread that blocks in it, one thread for each such peer.
//   - READ_FIXED spares looking the pages up, which is little in a copy of this size.
//     It needs the whole mapping locked, and blocking descriptors.
//
// READ_FIXED was level or up to 3 % below RECV in echo runs, so it is used where the
// mapping can be locked, and RECV where not.

// Read implements [backend.Backend]. It reports what is there when the operation gets
// to it, up to all of mem.
func (b *ring) Read(k backend.Key, fd int, mem []byte) {
	e := b.sqe(uapi.IORING_OP_RECV, fd, uint64(k))
	e.Addr = address(mem)
	e.Len = uint32(min(len(mem), maxRead))
	if i, ok := b.fixed.find(e.Addr, uint64(e.Len)); ok {
		e.Opcode, e.BufIndex = uapi.IORING_OP_READ_FIXED, i
	}
}

// maxRead bounds one OpRead, in bytes; longer memory takes more than one.
const maxRead = 1 << 30

// fixed is the mapping registered as fixed buffers, in pieces of the largest size the
// kernel takes. The zero value has none.
type fixed struct {
	base, size uint64
}

const fixedPiece = 1 << 30

// register registers mem with the ring fd. On error nothing is registered and errno
// says why: ENOMEM for the memlock limit.
func (f *fixed) register(fd int, mem []byte) syscall.Errno {
	if len(mem) == 0 {
		return 0
	}
	var iovs []uapi.Iovec
	for rest := mem; len(rest) > 0; {
		n := min(len(rest), fixedPiece)
		iovs = append(iovs, uapi.Iovec{Base: address(rest), Len: uint64(n)})
		rest = rest[n:]
	}
	if errno := uapi.RegisterBuffers(fd, iovs); errno != 0 {
		return errno
	}
	*f = fixed{base: address(mem), size: uint64(len(mem))}
	return 0
}

// find returns the index of the fixed buffer that n bytes at addr lie in.
func (f *fixed) find(addr, n uint64) (index uint16, ok bool) {
	off := addr - f.base // huge below base
	if off >= f.size || n > f.size-off || n == 0 {
		return 0, false
	}
	first, last := off/fixedPiece, (off+n-1)/fixedPiece
	return uint16(first), first == last
}

// registerFixed registers the mapping, or notes why Read does without.
func (b *ring) registerFixed() {
	errno := b.fixed.register(b.q.fd, b.cfg.Mapping)
	if errno == 0 {
		return
	}
	note := fmt.Sprintf("large reads use no registered buffers: %v", errno)
	if errno == syscall.ENOMEM {
		var lim unix.Rlimit
		unix.Getrlimit(unix.RLIMIT_MEMLOCK, &lim)
		note = fmt.Sprintf("large reads use no registered buffers: %d KiB cannot be locked, RLIMIT_MEMLOCK is %d KiB",
			len(b.cfg.Mapping)>>10, lim.Cur>>10)
	}
	b.notes = append(b.notes, note)
}
