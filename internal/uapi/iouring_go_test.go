//go:build linux && (amd64 || arm64)

package uapi

import (
	"testing"
	"unsafe"

	iouring "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// TestConstantsMatchIouringGo compares every constant that iouring-go has too.
func TestConstantsMatchIouringGo(t *testing.T) {
	for _, c := range []struct {
		name         string
		ours, theirs uint64
	}{
		{"IORING_ENTER_GETEVENTS", uint64(IORING_ENTER_GETEVENTS), uint64(iouring.IORING_ENTER_FLAGS_GETEVENTS)},
		{"IORING_ENTER_SQ_WAIT", uint64(IORING_ENTER_SQ_WAIT), uint64(iouring.IORING_ENTER_FLAGS_SQ_WAIT)},
		{"IORING_ENTER_SQ_WAKEUP", uint64(IORING_ENTER_SQ_WAKEUP), uint64(iouring.IORING_ENTER_FLAGS_SQ_WAKEUP)},
		{"IORING_FEAT_CUR_PERSONALITY", uint64(IORING_FEAT_CUR_PERSONALITY), uint64(iouring.IORING_FEAT_CUR_PERSONALITY)},
		{"IORING_FEAT_FAST_POLL", uint64(IORING_FEAT_FAST_POLL), uint64(iouring.IORING_FEAT_FAST_POLL)},
		{"IORING_FEAT_NODROP", uint64(IORING_FEAT_NODROP), uint64(iouring.IORING_FEAT_NODROP)},
		{"IORING_FEAT_POLL_32BITS", uint64(IORING_FEAT_POLL_32BITS), uint64(iouring.IORING_FEAT_POLL_32BITS)},
		{"IORING_FEAT_RW_CUR_POS", uint64(IORING_FEAT_RW_CUR_POS), uint64(iouring.IORING_FEAT_RW_CUR_POS)},
		{"IORING_FEAT_SINGLE_MMAP", uint64(IORING_FEAT_SINGLE_MMAP), uint64(iouring.IORING_FEAT_SINGLE_MMAP)},
		{"IORING_FEAT_SQPOLL_NONFIXED", uint64(IORING_FEAT_SQPOLL_NONFIXED), uint64(iouring.IORING_FEAT_SQPOLL_NONFIXED)},
		{"IORING_FEAT_SUBMIT_STABLE", uint64(IORING_FEAT_SUBMIT_STABLE), uint64(iouring.IORING_FEAT_SUBMIT_STABLE)},
		{"IORING_OFF_CQ_RING", uint64(IORING_OFF_CQ_RING), uint64(iouring.IORING_OFF_CQ_RING)},
		{"IORING_OFF_SQES", uint64(IORING_OFF_SQES), uint64(iouring.IORING_OFF_SQES)},
		{"IORING_OFF_SQ_RING", uint64(IORING_OFF_SQ_RING), uint64(iouring.IORING_OFF_SQ_RING)},
		{"IORING_OP_ACCEPT", uint64(IORING_OP_ACCEPT), uint64(iouring.IORING_OP_ACCEPT)},
		{"IORING_OP_ASYNC_CANCEL", uint64(IORING_OP_ASYNC_CANCEL), uint64(iouring.IORING_OP_ASYNC_CANCEL)},
		{"IORING_OP_CLOSE", uint64(IORING_OP_CLOSE), uint64(iouring.IORING_OP_CLOSE)},
		{"IORING_OP_CONNECT", uint64(IORING_OP_CONNECT), uint64(iouring.IORING_OP_CONNECT)},
		{"IORING_OP_EPOLL_CTL", uint64(IORING_OP_EPOLL_CTL), uint64(iouring.IORING_OP_EPOLL_CTL)},
		{"IORING_OP_FADVISE", uint64(IORING_OP_FADVISE), uint64(iouring.IORING_OP_FADVISE)},
		{"IORING_OP_FALLOCATE", uint64(IORING_OP_FALLOCATE), uint64(iouring.IORING_OP_FALLOCATE)},
		{"IORING_OP_FGETXATTR", uint64(IORING_OP_FGETXATTR), uint64(iouring.IORING_OP_FGETXATTR)},
		{"IORING_OP_FILES_UPDATE", uint64(IORING_OP_FILES_UPDATE), uint64(iouring.IORING_OP_FILES_UPDATE)},
		{"IORING_OP_FSETXATTR", uint64(IORING_OP_FSETXATTR), uint64(iouring.IORING_OP_FSETXATTR)},
		{"IORING_OP_FSYNC", uint64(IORING_OP_FSYNC), uint64(iouring.IORING_OP_FSYNC)},
		{"IORING_OP_GETXATTR", uint64(IORING_OP_GETXATTR), uint64(iouring.IORING_OP_GETXATTR)},
		{"IORING_OP_LINKAT", uint64(IORING_OP_LINKAT), uint64(iouring.IORING_OP_LINKAT)},
		{"IORING_OP_LINK_TIMEOUT", uint64(IORING_OP_LINK_TIMEOUT), uint64(iouring.IORING_OP_LINK_TIMEOUT)},
		{"IORING_OP_MADVISE", uint64(IORING_OP_MADVISE), uint64(iouring.IORING_OP_MADVISE)},
		{"IORING_OP_MKDIRAT", uint64(IORING_OP_MKDIRAT), uint64(iouring.IORING_OP_MKDIRAT)},
		{"IORING_OP_MSG_RING", uint64(IORING_OP_MSG_RING), uint64(iouring.IORING_OP_MSG_RING)},
		{"IORING_OP_NOP", uint64(IORING_OP_NOP), uint64(iouring.IORING_OP_NOP)},
		{"IORING_OP_OPENAT", uint64(IORING_OP_OPENAT), uint64(iouring.IORING_OP_OPENAT)},
		{"IORING_OP_OPENAT2", uint64(IORING_OP_OPENAT2), uint64(iouring.IORING_OP_OPENAT2)},
		{"IORING_OP_POLL_ADD", uint64(IORING_OP_POLL_ADD), uint64(iouring.IORING_OP_POLL_ADD)},
		{"IORING_OP_POLL_REMOVE", uint64(IORING_OP_POLL_REMOVE), uint64(iouring.IORING_OP_POLL_REMOVE)},
		{"IORING_OP_PROVIDE_BUFFERS", uint64(IORING_OP_PROVIDE_BUFFERS), uint64(iouring.IORING_OP_PROVIDE_BUFFERS)},
		{"IORING_OP_READ", uint64(IORING_OP_READ), uint64(iouring.IORING_OP_READ)},
		{"IORING_OP_READV", uint64(IORING_OP_READV), uint64(iouring.IORING_OP_READV)},
		{"IORING_OP_READ_FIXED", uint64(IORING_OP_READ_FIXED), uint64(iouring.IORING_OP_READ_FIXED)},
		{"IORING_OP_RECV", uint64(IORING_OP_RECV), uint64(iouring.IORING_OP_RECV)},
		{"IORING_OP_RECVMSG", uint64(IORING_OP_RECVMSG), uint64(iouring.IORING_OP_RECVMSG)},
		{"IORING_OP_REMOVE_BUFFERS", uint64(IORING_OP_REMOVE_BUFFERS), uint64(iouring.IORING_OP_REMOVE_BUFFERS)},
		{"IORING_OP_RENAMEAT", uint64(IORING_OP_RENAMEAT), uint64(iouring.IORING_OP_RENAMEAT)},
		{"IORING_OP_SEND", uint64(IORING_OP_SEND), uint64(iouring.IORING_OP_SEND)},
		{"IORING_OP_SENDMSG", uint64(IORING_OP_SENDMSG), uint64(iouring.IORING_OP_SENDMSG)},
		{"IORING_OP_SENDMSG_ZC", uint64(IORING_OP_SENDMSG_ZC), uint64(iouring.IORING_OP_SENDMSG_ZC)},
		{"IORING_OP_SEND_ZC", uint64(IORING_OP_SEND_ZC), uint64(iouring.IORING_OP_SEND_ZC)},
		{"IORING_OP_SETXATTR", uint64(IORING_OP_SETXATTR), uint64(iouring.IORING_OP_SETXATTR)},
		{"IORING_OP_SHUTDOWN", uint64(IORING_OP_SHUTDOWN), uint64(iouring.IORING_OP_SHUTDOWN)},
		{"IORING_OP_SOCKET", uint64(IORING_OP_SOCKET), uint64(iouring.IORING_OP_SOCKET)},
		{"IORING_OP_SPLICE", uint64(IORING_OP_SPLICE), uint64(iouring.IORING_OP_SPLICE)},
		{"IORING_OP_STATX", uint64(IORING_OP_STATX), uint64(iouring.IORING_OP_STATX)},
		{"IORING_OP_SYMLINKAT", uint64(IORING_OP_SYMLINKAT), uint64(iouring.IORING_OP_SYMLINKAT)},
		{"IORING_OP_SYNC_FILE_RANGE", uint64(IORING_OP_SYNC_FILE_RANGE), uint64(iouring.IORING_OP_SYNC_FILE_RANGE)},
		{"IORING_OP_TEE", uint64(IORING_OP_TEE), uint64(iouring.IORING_OP_TEE)},
		{"IORING_OP_TIMEOUT", uint64(IORING_OP_TIMEOUT), uint64(iouring.IORING_OP_TIMEOUT)},
		{"IORING_OP_TIMEOUT_REMOVE", uint64(IORING_OP_TIMEOUT_REMOVE), uint64(iouring.IORING_OP_TIMEOUT_REMOVE)},
		{"IORING_OP_UNLINKAT", uint64(IORING_OP_UNLINKAT), uint64(iouring.IORING_OP_UNLINKAT)},
		{"IORING_OP_URING_CMD", uint64(IORING_OP_URING_CMD), uint64(iouring.IORING_OP_URING_CMD)},
		{"IORING_OP_WRITE", uint64(IORING_OP_WRITE), uint64(iouring.IORING_OP_WRITE)},
		{"IORING_OP_WRITEV", uint64(IORING_OP_WRITEV), uint64(iouring.IORING_OP_WRITEV)},
		{"IORING_OP_WRITE_FIXED", uint64(IORING_OP_WRITE_FIXED), uint64(iouring.IORING_OP_WRITE_FIXED)},
		{"IORING_REGISTER_BUFFERS", uint64(IORING_REGISTER_BUFFERS), uint64(iouring.IORING_REGISTER_BUFFERS)},
		{"IORING_REGISTER_ENABLE_RINGS", uint64(IORING_REGISTER_ENABLE_RINGS), uint64(iouring.IORING_REGISTER_ENABLE_RINGS)},
		{"IORING_REGISTER_EVENTFD", uint64(IORING_REGISTER_EVENTFD), uint64(iouring.IORING_REGISTER_EVENTFD)},
		{"IORING_REGISTER_EVENTFD_ASYNC", uint64(IORING_REGISTER_EVENTFD_ASYNC), uint64(iouring.IORING_REGISTER_EVENTFD_ASYNC)},
		{"IORING_REGISTER_FILES", uint64(IORING_REGISTER_FILES), uint64(iouring.IORING_REGISTER_FILES)},
		{"IORING_REGISTER_FILES_UPDATE", uint64(IORING_REGISTER_FILES_UPDATE), uint64(iouring.IORING_REGISTER_FILES_UPDATE)},
		{"IORING_REGISTER_PERSONALITY", uint64(IORING_REGISTER_PERSONALITY), uint64(iouring.IORING_REGISTER_PERSONALITY)},
		{"IORING_REGISTER_PROBE", uint64(IORING_REGISTER_PROBE), uint64(iouring.IORING_REGISTER_PROBE)},
		{"IORING_REGISTER_RESTRICTIONS", uint64(IORING_REGISTER_RESTRICTIONS), uint64(iouring.IORING_REGISTER_RESTRICTIONS)},
		{"IORING_SETUP_ATTACH_WQ", uint64(IORING_SETUP_ATTACH_WQ), uint64(iouring.IORING_SETUP_ATTACH_WQ)},
		{"IORING_SETUP_CLAMP", uint64(IORING_SETUP_CLAMP), uint64(iouring.IORING_SETUP_CLAMP)},
		{"IORING_SETUP_COOP_TASKRUN", uint64(IORING_SETUP_COOP_TASKRUN), uint64(iouring.IORING_SETUP_COOP_TASKRUN)},
		{"IORING_SETUP_CQE32", uint64(IORING_SETUP_CQE32), uint64(iouring.IORING_SETUP_CQE32)},
		{"IORING_SETUP_CQSIZE", uint64(IORING_SETUP_CQSIZE), uint64(iouring.IORING_SETUP_CQSIZE)},
		{"IORING_SETUP_IOPOLL", uint64(IORING_SETUP_IOPOLL), uint64(iouring.IORING_SETUP_IOPOLL)},
		{"IORING_SETUP_R_DISABLED", uint64(IORING_SETUP_R_DISABLED), uint64(iouring.IORING_SETUP_R_DISABLED)},
		{"IORING_SETUP_SQE128", uint64(IORING_SETUP_SQE128), uint64(iouring.IORING_SETUP_SQE128)},
		{"IORING_SETUP_SQPOLL", uint64(IORING_SETUP_SQPOLL), uint64(iouring.IORING_SETUP_SQPOLL)},
		{"IORING_SETUP_SQ_AFF", uint64(IORING_SETUP_SQ_AFF), uint64(iouring.IORING_SETUP_SQ_AFF)},
		{"IORING_SETUP_SUBMIT_ALL", uint64(IORING_SETUP_SUBMIT_ALL), uint64(iouring.IORING_SETUP_SUBMIT_ALL)},
		{"IORING_SETUP_TASKRUN_FLAG", uint64(IORING_SETUP_TASKRUN_FLAG), uint64(iouring.IORING_SETUP_TASKRUN_FLAG)},
		{"IORING_SQ_CQ_OVERFLOW", uint64(IORING_SQ_CQ_OVERFLOW), uint64(iouring.IORING_SQ_CQ_OVERFLOW)},
		{"IORING_SQ_NEED_WAKEUP", uint64(IORING_SQ_NEED_WAKEUP), uint64(iouring.IORING_SQ_NEED_WAKEUP)},
		{"IORING_TIMEOUT_ABS", uint64(IORING_TIMEOUT_ABS), uint64(iouring.IORING_TIMEOUT_ABS)},
		{"IORING_UNREGISTER_BUFFERS", uint64(IORING_UNREGISTER_BUFFERS), uint64(iouring.IORING_UNREGISTER_BUFFERS)},
		{"IORING_UNREGISTER_EVENTFD", uint64(IORING_UNREGISTER_EVENTFD), uint64(iouring.IORING_UNREGISTER_EVENTFD)},
		{"IORING_UNREGISTER_FILES", uint64(IORING_UNREGISTER_FILES), uint64(iouring.IORING_UNREGISTER_FILES)},
		{"IORING_UNREGISTER_PERSONALITY", uint64(IORING_UNREGISTER_PERSONALITY), uint64(iouring.IORING_UNREGISTER_PERSONALITY)},
		{"IOSQE_ASYNC", uint64(IOSQE_ASYNC), uint64(iouring.IOSQE_FLAGS_ASYNC)},
		{"IOSQE_BUFFER_SELECT", uint64(IOSQE_BUFFER_SELECT), uint64(iouring.IOSQE_FLAGS_BUFFER_SELECT)},
		{"IOSQE_FIXED_FILE", uint64(IOSQE_FIXED_FILE), uint64(iouring.IOSQE_FLAGS_FIXED_FILE)},
		{"IOSQE_IO_DRAIN", uint64(IOSQE_IO_DRAIN), uint64(iouring.IOSQE_FLAGS_IO_DRAIN)},
		{"IOSQE_IO_HARDLINK", uint64(IOSQE_IO_HARDLINK), uint64(iouring.IOSQE_FLAGS_IO_HARDLINK)},
		{"IOSQE_IO_LINK", uint64(IOSQE_IO_LINK), uint64(iouring.IOSQE_FLAGS_IO_LINK)},
		{"io_uring_setup", SyscallSetup, iouring.SYS_IO_URING_SETUP},
		{"io_uring_enter", SyscallEnter, iouring.SYS_IO_URING_ENTER},
		{"io_uring_register", SyscallRegister, iouring.SYS_IO_URING_REGISTER},
		{"io_uring_setup of x/sys", SyscallSetup, unix.SYS_IO_URING_SETUP},
		{"io_uring_enter of x/sys", SyscallEnter, unix.SYS_IO_URING_ENTER},
		{"io_uring_register of x/sys", SyscallRegister, unix.SYS_IO_URING_REGISTER},
	} {
		if c.ours != c.theirs {
			t.Errorf("%s: ours %#x, theirs %#x", c.name, c.ours, c.theirs)
		}
	}
}

// TestSQEMatchesIouringGo fills iouring-go's entry through its methods and ours by
// its fields, one field at a time and all together, and compares the bytes.
func TestSQEMatchesIouringGo(t *testing.T) {
	type sqe64 = iouring.SubmissionQueueEntry64
	if a, b := unsafe.Sizeof(SQE{}), unsafe.Sizeof(sqe64{}); a != b {
		t.Fatalf("ours has %d bytes, theirs %d", a, b)
	}
	steps := []struct {
		name   string
		theirs func(*sqe64)
		ours   func(*SQE)
	}{
		{"opcode", func(e *sqe64) { e.PrepOperation(0xa1, 0, 0, 0, 0) }, func(e *SQE) { e.Opcode = 0xa1 }},
		{"fd", func(e *sqe64) { e.PrepOperation(0, -559038737, 0, 0, 0) }, func(e *SQE) { e.Fd = -559038737 }},
		{"addr", func(e *sqe64) { e.PrepOperation(0, 0, 0x0123456789abcdef, 0, 0) }, func(e *SQE) { e.Addr = 0x0123456789abcdef }},
		{"len", func(e *sqe64) { e.PrepOperation(0, 0, 0, 0xcafef00d, 0) }, func(e *SQE) { e.Len = 0xcafef00d }},
		{"off", func(e *sqe64) { e.PrepOperation(0, 0, 0, 0, 0xfedcba9876543210) }, func(e *SQE) { e.Off = 0xfedcba9876543210 }},
		{"flags", func(e *sqe64) { e.SetFlags(0x5a) }, func(e *SQE) { e.Flags = 0x5a }},
		{"fixed file", func(e *sqe64) { e.SetFdIndex(7) }, func(e *SQE) { e.Fd, e.Flags = 7, IOSQE_FIXED_FILE }},
		{"ioprio", func(e *sqe64) { e.SetIoprio(0xbeef) }, func(e *SQE) { e.Ioprio = 0xbeef }},
		{"op flags", func(e *sqe64) { e.SetOpFlags(0x12345678) }, func(e *SQE) { e.OpFlags = 0x12345678 }},
		{"user data", func(e *sqe64) { e.SetUserData(0x1122334455667788) }, func(e *SQE) { e.UserData = 0x1122334455667788 }},
		{"buf index", func(e *sqe64) { e.SetBufIndex(0x99aa) }, func(e *SQE) { e.BufIndex = 0x99aa }},
		{"buf group", func(e *sqe64) { e.SetBufGroup(0x77cc) }, func(e *SQE) { e.BufIndex = 0x77cc }},
		{"personality", func(e *sqe64) { e.SetPersonality(0x3344) }, func(e *SQE) { e.Personality = 0x3344 }},
		{"splice fd", func(e *sqe64) { e.SetSpliceFdIn(0x55667788) }, func(e *SQE) { e.FileIndex = 0x55667788 }},
		{"all", func(e *sqe64) {
			e.PrepOperation(1, 2, 3, 4, 5)
			e.SetFlags(6)
			e.SetIoprio(7)
			e.SetOpFlags(8)
			e.SetUserData(9)
			e.SetBufIndex(10)
			e.SetPersonality(11)
			e.SetSpliceFdIn(12)
		}, func(e *SQE) {
			*e = SQE{Opcode: 1, Fd: 2, Addr: 3, Len: 4, Off: 5, Flags: 6, Ioprio: 7, OpFlags: 8,
				UserData: 9, BufIndex: 10, Personality: 11, FileIndex: 12}
		}},
	}
	for _, s := range steps {
		var theirs sqe64
		var ours SQE
		s.theirs(&theirs)
		s.ours(&ours)
		a := *(*[64]byte)(unsafe.Pointer(&ours))
		b := *(*[64]byte)(unsafe.Pointer(&theirs))
		if a != b {
			t.Errorf("%s:\nours   %x\ntheirs %x", s.name, a, b)
		}
		if a == ([64]byte{}) {
			t.Errorf("%s: nothing was set", s.name)
		}
	}
}

// TestCQEMatchesIouringGo lays iouring-go's completion over ours.
func TestCQEMatchesIouringGo(t *testing.T) {
	c := CQE{UserData: 0x1122334455667788, Res: -11, Flags: 0xabcd<<IORING_CQE_BUFFER_SHIFT | IORING_CQE_F_BUFFER}
	if a, b := unsafe.Sizeof(c), unsafe.Sizeof(iouring.CompletionQueueEvent16{}); a != b {
		t.Fatalf("ours has %d bytes, theirs %d", a, b)
	}
	theirs := (*iouring.CompletionQueueEvent16)(unsafe.Pointer(&c))
	if theirs.UserData() != c.UserData || theirs.Result() != c.Res || theirs.Flags() != c.Flags {
		t.Errorf("theirs reads %#x %d %#x from %+v", theirs.UserData(), theirs.Result(), theirs.Flags(), c)
	}
	if c.BufferID() != 0xabcd {
		t.Errorf("BufferID = %#x", c.BufferID())
	}
}

var sinkSQE [64]SQE
var sinkSQE64 [64]iouring.SubmissionQueueEntry64

// BenchmarkFill compares one send entry assigned as a composite literal, filled by
// fields, and filled through iouring-go's methods.
func BenchmarkFill(b *testing.B) {
	b.Run("literal", func(b *testing.B) {
		for i := range b.N {
			sinkSQE[i&63] = SQE{Opcode: IORING_OP_SEND, Fd: 5, Addr: uint64(i), Len: 64, OpFlags: 0x4000, UserData: uint64(i)}
		}
	})
	b.Run("fields", func(b *testing.B) {
		for i := range b.N {
			e := &sinkSQE[i&63]
			*e = SQE{}
			e.Opcode = IORING_OP_SEND
			e.Fd = 5
			e.Addr = uint64(i)
			e.Len = 64
			e.OpFlags = 0x4000
			e.UserData = uint64(i)
		}
	})
	b.Run("methods", func(b *testing.B) {
		for i := range b.N {
			e := &sinkSQE64[i&63]
			e.Reset()
			e.PrepOperation(IORING_OP_SEND, 5, uint64(i), 64, 0)
			e.SetOpFlags(0x4000)
			e.SetUserData(uint64(i))
		}
	})
}
