//go:build !linux || (!amd64 && !arm64)

package uapi

import (
	"os"
	"syscall"
	"unsafe"
)

// Params is struct io_uring_params.
type Params struct {
	SQEntries    uint32
	CQEntries    uint32
	Flags        uint32
	SQThreadCPU  uint32
	SQThreadIdle uint32
	Features     uint32
	WQFd         uint32
	Resv         [3]uint32
	SQOffset     SQOffsets
	CQOffset     CQOffsets
}

// SQOffsets is struct io_sqring_offsets.
type SQOffsets struct {
	Head, Tail, RingMask, RingEntries, Flags, Dropped, Array, Resv1 uint32
	Resv2                                                           uint64
}

// CQOffsets is struct io_cqring_offsets.
type CQOffsets struct {
	Head, Tail, RingMask, RingEntries, Overflow, Cqes, Flags, Resv1 uint32
	Resv2                                                           uint64
}

// Setup fails with ENOSYS on this system.
func Setup(entries uint32, p *Params) (fd int, errno syscall.Errno) { return -1, syscall.ENOSYS }

// EnterRaw fails with ENOSYS on this system.
func EnterRaw(fd int, toSubmit, flags uint32) (n int, errno syscall.Errno) {
	return 0, syscall.ENOSYS
}

// EnterWait fails with ENOSYS on this system.
func EnterWait(fd int, toSubmit, minComplete, flags uint32, arg *GetEventsArg) (n int, errno syscall.Errno) {
	return 0, syscall.ENOSYS
}

// EnterWaitReg fails with ENOSYS on this system.
func EnterWaitReg(fd int, toSubmit, minComplete, flags, offset uint32) (n int, errno syscall.Errno) {
	return 0, syscall.ENOSYS
}

// Register fails with ENOSYS on this system.
func Register(fd int, op uint32, arg unsafe.Pointer, n uint32) syscall.Errno { return syscall.ENOSYS }

// RegisterArg fails with ENOSYS on this system.
func RegisterArg[T any](fd int, op uint32, arg *T, n uint32) (res int, errno syscall.Errno) {
	return 0, syscall.ENOSYS
}

// MapRings fails with ENOSYS on this system.
func MapRings(fd int, p *Params) (RingMem, error) {
	return RingMem{}, os.NewSyscallError("mmap", syscall.ENOSYS)
}

// MmapBufRing fails with ENOSYS on this system.
func MmapBufRing(fd int, bgid uint16, entries uint32) ([]byte, error) {
	return nil, os.NewSyscallError("mmap", syscall.ENOSYS)
}

// MmapAnon fails with ENOSYS on this system.
func MmapAnon(n int) ([]byte, error) { return nil, os.NewSyscallError("mmap", syscall.ENOSYS) }

// Munmap fails with ENOSYS on this system.
func Munmap(b []byte) error { return os.NewSyscallError("munmap", syscall.ENOSYS) }

// AdviseHuge fails with ENOSYS on this system.
func AdviseHuge(b []byte) error { return os.NewSyscallError("madvise", syscall.ENOSYS) }

// AdviseDontFork fails with ENOSYS on this system.
func AdviseDontFork(b []byte) error { return os.NewSyscallError("madvise", syscall.ENOSYS) }
