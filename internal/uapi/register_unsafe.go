package uapi

import (
	"os"
	"syscall"
	"unsafe"
)

// EnableRings starts a ring created with IORING_SETUP_R_DISABLED. Under
// IORING_SETUP_SINGLE_ISSUER the calling thread becomes the only submitter.
func EnableRings(fd int) syscall.Errno {
	return Register(fd, IORING_REGISTER_ENABLE_RINGS, nil, 0)
}

// RegisterBuffers registers fixed buffers: IORING_REGISTER_BUFFERS. The memory the
// iovecs name lies outside the Go heap and stays mapped until the ring is closed
// or UnregisterBuffers; iovs itself is free after the call. ENOMEM means that the
// pages do not fit the memlock limit.
func RegisterBuffers(fd int, iovs []Iovec) syscall.Errno {
	return Register(fd, IORING_REGISTER_BUFFERS, unsafe.Pointer(unsafe.SliceData(iovs)), uint32(len(iovs)))
}

// UnregisterBuffers undoes RegisterBuffers.
func UnregisterBuffers(fd int) syscall.Errno {
	return Register(fd, IORING_UNREGISTER_BUFFERS, nil, 0)
}

// RegisterFiles registers a fixed file table: IORING_REGISTER_FILES. -1 leaves a
// slot empty.
func RegisterFiles(fd int, fds []int32) syscall.Errno {
	return Register(fd, IORING_REGISTER_FILES, unsafe.Pointer(unsafe.SliceData(fds)), uint32(len(fds)))
}

// RegisterBufRing registers a provided-buffer ring: IORING_REGISTER_PBUF_RING.
// EEXIST means that the group is taken.
func RegisterBufRing(fd int, reg *BufReg) syscall.Errno {
	return Register(fd, IORING_REGISTER_PBUF_RING, unsafe.Pointer(reg), 1)
}

// UnregisterBufRing removes the provided-buffer ring of group bgid. Requests that
// still select from the group then fail with ENOBUFS.
func UnregisterBufRing(fd int, bgid uint16) syscall.Errno {
	return Register(fd, IORING_UNREGISTER_PBUF_RING, unsafe.Pointer(&BufReg{Bgid: bgid}), 1)
}

// RegisterRing registers the ring's descriptor with the calling thread, which
// saves a reference per enter: IORING_REGISTER_RING_FDS. The index it returns
// stands for fd on this thread alone, in enter with IORING_ENTER_REGISTERED_RING
// and in RegisterArg with IORING_REGISTER_USE_REGISTERED_RING.
func RegisterRing(fd int) (index int, errno syscall.Errno) {
	up := RsrcUpdate{Offset: 1<<32 - 1, Data: uint64(uint32(fd))}
	if n, errno := RegisterArg(fd, IORING_REGISTER_RING_FDS, &up, 1); errno != 0 {
		return -1, errno
	} else if n != 1 {
		return -1, syscall.EIO
	}
	return int(up.Offset), 0
}

// UnregisterRing gives back an index of RegisterRing on the thread that got it.
func UnregisterRing(fd, index int) syscall.Errno {
	up := RsrcUpdate{Offset: uint32(index)}
	_, errno := RegisterArg(fd, IORING_UNREGISTER_RING_FDS, &up, 1)
	return errno
}

// ProbeOps asks which operations the kernel implements: IORING_REGISTER_PROBE.
func ProbeOps(fd int) (*Probe, syscall.Errno) {
	p := new(Probe)
	if _, errno := RegisterArg(fd, IORING_REGISTER_PROBE, p, uint32(len(p.Ops))); errno != 0 {
		return nil, errno
	}
	return p, 0
}

// Query asks, without a ring, what this kernel knows: IORING_REGISTER_QUERY with
// IO_URING_QUERY_OPCODES (6.18). EINVAL means that the kernel is older.
func Query() (QueryOpcode, error) {
	// The header names the answer by its address, so both need memory that a
	// growing goroutine stack does not move.
	mem, err := MmapAnon(os.Getpagesize())
	if err != nil {
		return QueryOpcode{}, err
	}
	defer Munmap(mem)
	hdr := At[QueryHdr](mem, 0)
	answer := At[QueryOpcode](mem, int(unsafe.Sizeof(*hdr)))
	*hdr = QueryHdr{
		QueryData: Addr(answer),
		QueryOp:   IO_URING_QUERY_OPCODES,
		Size:      uint32(unsafe.Sizeof(*answer)),
	}
	if _, errno := RegisterArg(-1, IORING_REGISTER_QUERY, hdr, 0); errno != 0 {
		return QueryOpcode{}, errno
	}
	if hdr.Result < 0 {
		return QueryOpcode{}, syscall.Errno(-hdr.Result)
	}
	return *answer, nil
}
