//go:build amd64 || arm64

package uapi

import (
	"errors"
	"math"
	"syscall"
	"unsafe"

	iouring "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/invariants"
)

// Setup creates a ring with at least entries submission slots: io_uring_setup(2).
// On success p holds what the kernel granted and fd, which the caller closes, is
// the ring (an index under IORING_SETUP_REGISTERED_FD_ONLY). Errors of note: EPERM
// and ENOSYS where io_uring is forbidden or absent, EINVAL for a flag the kernel
// does not know, ENOMEM at the memlock limit.
func Setup(entries uint32, p *Params) (fd int, errno syscall.Errno) {
	fd, err := iouring.IOURingSetup(uint(entries), p)
	if err != nil {
		return -1, errnoOf(err)
	}
	return fd, 0
}

// EnterRaw is io_uring_enter(2) with min_complete 0: it submits up to toSubmit
// entries and, with IORING_ENTER_GETEVENTS, runs what work is due. It returns how
// many entries the kernel consumed. It never waits for a completion, and so keeps
// the processor of the Go scheduler: the garbage collector waits for it, which
// bounds how much a caller should submit at once. IORING_ENTER_SQ_WAIT, which can
// sleep, is for EnterWait. fd is an index under IORING_ENTER_REGISTERED_RING.
//
// EBUSY and EAGAIN ask to reap completions and come again.
func EnterRaw(fd int, toSubmit, flags uint32) (n int, errno syscall.Errno) {
	invariants.Check(flags&(IORING_ENTER_SQ_WAIT|IORING_ENTER_EXT_ARG|IORING_ENTER_EXT_ARG_REG) == 0,
		"uapi: EnterRaw with a flag that waits")
	r, _, errno := syscall.RawSyscall6(unix.SYS_IO_URING_ENTER,
		uintptr(fd), uintptr(toSubmit), 0, uintptr(flags), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}

// EnterWait is io_uring_enter(2): submit up to toSubmit entries, then, with
// IORING_ENTER_GETEVENTS, wait until minComplete completions are there. A non-nil
// arg adds IORING_ENTER_EXT_ARG and bounds the wait. The scheduler may hand the
// processor to another goroutine meanwhile.
//
// When some entries were consumed n counts them and errno is 0, even if a signal
// or the timeout ended the wait. Otherwise ETIME says that the time passed and
// EINTR that a signal came: in both cases look at the CQ ring and go round.
func EnterWait(fd int, toSubmit, minComplete, flags uint32, arg *GetEventsArg) (n int, errno syscall.Errno) {
	var size uintptr
	if arg != nil {
		flags |= IORING_ENTER_EXT_ARG
		size = unsafe.Sizeof(*arg)
	}
	r, _, errno := syscall.Syscall6(unix.SYS_IO_URING_ENTER,
		uintptr(fd), uintptr(toSubmit), uintptr(minComplete), uintptr(flags),
		uintptr(unsafe.Pointer(arg)), size)
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}

// EnterWaitReg is EnterWait with a registered argument (6.13): offset, in bytes,
// names a RegWait in the region registered with IORING_MEM_REGION_REG_WAIT_ARG.
func EnterWaitReg(fd int, toSubmit, minComplete, flags, offset uint32) (n int, errno syscall.Errno) {
	flags |= IORING_ENTER_EXT_ARG | IORING_ENTER_EXT_ARG_REG
	r, _, errno := syscall.Syscall6(unix.SYS_IO_URING_ENTER,
		uintptr(fd), uintptr(toSubmit), uintptr(minComplete), uintptr(flags),
		uintptr(offset), unsafe.Sizeof(RegWait{}))
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}

// Register is io_uring_register(2) for the operations whose result is only success
// or failure. arg and n are as the operation defines. EINTR is retried. It may
// sleep, and on failure it allocates. op carries no flags (EINVAL).
func Register(fd int, op uint32, arg unsafe.Pointer, n uint32) syscall.Errno {
	if op > math.MaxUint8 { // a flag such as IORING_REGISTER_USE_REGISTERED_RING
		return syscall.EINVAL
	}
	if err := iouring.IOURingRegister(fd, uint8(op), arg, n); err != nil {
		return errnoOf(err)
	}
	return 0
}

// RegisterArg is io_uring_register(2) with an argument of type T and the result,
// which some operations use for a count. op may carry
// IORING_REGISTER_USE_REGISTERED_RING, with fd an index of RegisterRing. fd is -1
// for the operations that need no ring. A nil arg passes a null pointer. EINTR is
// retried, so a timeout inside arg may start again. It does not allocate.
func RegisterArg[T any](fd int, op uint32, arg *T, n uint32) (res int, errno syscall.Errno) {
	for {
		r, _, errno := syscall.Syscall6(unix.SYS_IO_URING_REGISTER,
			uintptr(fd), uintptr(op), uintptr(unsafe.Pointer(arg)), uintptr(n), 0, 0)
		switch errno {
		case 0:
			return int(r), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// errnoOf unwraps the errno that iouring-go wraps in an os.SyscallError.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return syscall.EIO
	}
	return errno
}
