//go:build linux

package epoll

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of the hot path. All but epollSleep are raw: on a
// non-blocking descriptor they do not sleep, so the scheduler need not know, and
// one call of syscall.Syscall costs as much as what it would tell it. What they
// copy is bounded by maxCopy, since the collector waits for a raw call.
//
// The kernel is done with all memory when a call returns.

// msgFlags keep a call from sleeping and from raising SIGPIPE, whatever became
// of O_NONBLOCK on the shared file description.
const msgFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL

// sysRecv is recv(2). p is not empty.
func sysRecv(fd int, p []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
		uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

// sysSend is send(2). p is not empty.
func sysSend(fd int, p []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
		uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), msgFlags, 0, 0)
	return int(n), e
}

func sysSendmsg(fd int, m *unix.Msghdr) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(m)), msgFlags)
	return int(n), e
}

func sysRecvmsg(fd int, m *unix.Msghdr) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(m)), unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	return int(n), e
}

// sysAccept is accept4(2) on a non-blocking descriptor.
func sysAccept(fd int) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(n), e
}

// sysConnect is connect(2) on a non-blocking descriptor.
func sysConnect(fd int, name []byte) syscall.Errno {
	_, _, e := syscall.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&name[0])), uintptr(len(name)))
	return e
}

// sysSignal adds one to an eventfd.
func sysSignal(fd int) {
	one := uint64(1) // at one a nanosecond it overflows in 584 years
	syscall.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one)), 8)
}

// epollPeek is epoll_wait(2) with a time-out of 0. It goes by the name of
// epoll_pwait, which all architectures have.
func epollPeek(epfd int, ev []unix.EpollEvent) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd),
		uintptr(unsafe.Pointer(&ev[0])), uintptr(len(ev)), 0, 0, 0)
	return int(n), e
}

// epollSleep is epoll_pwait2(2): it sleeps up to timeout, without limit if that
// is negative. ENOSYS before Linux 5.11.
func epollSleep(epfd int, ev []unix.EpollEvent, timeout time.Duration) (int, syscall.Errno) {
	var ts *unix.Timespec
	if timeout >= 0 {
		t := unix.NsecToTimespec(int64(timeout))
		ts = &t
	}
	n, _, e := syscall.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(epfd),
		uintptr(unsafe.Pointer(&ev[0])), uintptr(len(ev)), uintptr(unsafe.Pointer(ts)), 0, 0)
	return int(n), e
}

// epollSleepMillis is epollSleep in whole milliseconds, rounded up, for kernels
// and sandboxes without epoll_pwait2.
func epollSleepMillis(epfd int, ev []unix.EpollEvent, timeout time.Duration) (int, syscall.Errno) {
	ms := -1
	if timeout >= 0 {
		ms = int(min((timeout+time.Millisecond-1)/time.Millisecond, 1<<30))
	}
	n, _, e := syscall.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd),
		uintptr(unsafe.Pointer(&ev[0])), uintptr(len(ev)), uintptr(ms), 0, 0)
	return int(n), e
}
