package kernel

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// progAttr is the part of union bpf_attr that BPF_PROG_LOAD needs, from
// include/uapi/linux/bpf.h.
type progAttr struct {
	typ      uint32
	insnCnt  uint32
	insns    uint64
	license  uint64
	logLevel uint32
	logSize  uint32
	logBuf   uint64
	version  uint32
	flags    uint32
	name     [16]byte
}

// progLoad is BPF_PROG_LOAD.
const progLoad = 5

// loadProgram loads a program of the type and returns its descriptor, which is the caller's.
// Errors are those of bpf(2).
func loadProgram(typ uint32, code []byte) (int, error) {
	// bpf_probe_read_kernel is for programs with a license that goes with the kernel's.
	license := []byte("Dual BSD/GPL\x00")
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&code[0])
	pin.Pin(&license[0])
	attr := progAttr{
		typ:     typ,
		insnCnt: uint32(len(code) / 8),
		insns:   uint64(uintptr(unsafe.Pointer(&code[0]))),
		license: uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	copy(attr.name[:15], "conformance")
	fd, _, errno := unix.Syscall(unix.SYS_BPF, progLoad, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// getsockopt reads an option into b and returns the size that the kernel says.
func getsockopt(fd, level, option int, b []byte) (int, error) {
	size := uint32(len(b))
	var p unsafe.Pointer
	if len(b) > 0 {
		p = unsafe.Pointer(&b[0])
	}
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(p), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(size), nil
}

// mmsghdr is struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// sendmmsg sends the messages by one call and returns how many were sent.
func sendmmsg(fd int, msgs [][]byte, flags int) (int, error) {
	hdrs := make([]mmsghdr, len(msgs))
	iovs := make([]unix.Iovec, len(msgs))
	for i, m := range msgs {
		if len(m) > 0 {
			iovs[i].Base = &m[0]
		}
		iovs[i].SetLen(len(m))
		hdrs[i].hdr.Iov = &iovs[i]
		hdrs[i].hdr.SetIovlen(1)
	}
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&hdrs[0])),
		uintptr(len(hdrs)), uintptr(flags), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
