package uapi

// Operation codes, for SQE.Opcode. An operation exists if Probe.Supports says so;
// the versions are those of mainline.
const (
	IORING_OP_NOP              uint8 = 0
	IORING_OP_READV            uint8 = 1
	IORING_OP_WRITEV           uint8 = 2
	IORING_OP_FSYNC            uint8 = 3
	IORING_OP_READ_FIXED       uint8 = 4
	IORING_OP_WRITE_FIXED      uint8 = 5
	IORING_OP_POLL_ADD         uint8 = 6
	IORING_OP_POLL_REMOVE      uint8 = 7
	IORING_OP_SYNC_FILE_RANGE  uint8 = 8
	IORING_OP_SENDMSG          uint8 = 9
	IORING_OP_RECVMSG          uint8 = 10
	IORING_OP_TIMEOUT          uint8 = 11
	IORING_OP_TIMEOUT_REMOVE   uint8 = 12
	IORING_OP_ACCEPT           uint8 = 13
	IORING_OP_ASYNC_CANCEL     uint8 = 14
	IORING_OP_LINK_TIMEOUT     uint8 = 15
	IORING_OP_CONNECT          uint8 = 16
	IORING_OP_FALLOCATE        uint8 = 17
	IORING_OP_OPENAT           uint8 = 18
	IORING_OP_CLOSE            uint8 = 19
	IORING_OP_FILES_UPDATE     uint8 = 20
	IORING_OP_STATX            uint8 = 21
	IORING_OP_READ             uint8 = 22
	IORING_OP_WRITE            uint8 = 23
	IORING_OP_FADVISE          uint8 = 24
	IORING_OP_MADVISE          uint8 = 25
	IORING_OP_SEND             uint8 = 26
	IORING_OP_RECV             uint8 = 27
	IORING_OP_OPENAT2          uint8 = 28
	IORING_OP_EPOLL_CTL        uint8 = 29
	IORING_OP_SPLICE           uint8 = 30
	IORING_OP_PROVIDE_BUFFERS  uint8 = 31
	IORING_OP_REMOVE_BUFFERS   uint8 = 32
	IORING_OP_TEE              uint8 = 33
	IORING_OP_SHUTDOWN         uint8 = 34
	IORING_OP_RENAMEAT         uint8 = 35
	IORING_OP_UNLINKAT         uint8 = 36
	IORING_OP_MKDIRAT          uint8 = 37
	IORING_OP_SYMLINKAT        uint8 = 38
	IORING_OP_LINKAT           uint8 = 39
	IORING_OP_MSG_RING         uint8 = 40 // 5.18
	IORING_OP_FSETXATTR        uint8 = 41
	IORING_OP_SETXATTR         uint8 = 42
	IORING_OP_FGETXATTR        uint8 = 43
	IORING_OP_GETXATTR         uint8 = 44
	IORING_OP_SOCKET           uint8 = 45 // 5.19
	IORING_OP_URING_CMD        uint8 = 46
	IORING_OP_SEND_ZC          uint8 = 47 // 6.0
	IORING_OP_SENDMSG_ZC       uint8 = 48 // 6.1
	IORING_OP_READ_MULTISHOT   uint8 = 49 // 6.7
	IORING_OP_WAITID           uint8 = 50
	IORING_OP_FUTEX_WAIT       uint8 = 51
	IORING_OP_FUTEX_WAKE       uint8 = 52
	IORING_OP_FUTEX_WAITV      uint8 = 53
	IORING_OP_FIXED_FD_INSTALL uint8 = 54 // 6.8
	IORING_OP_FTRUNCATE        uint8 = 55
	IORING_OP_BIND             uint8 = 56 // 6.11
	IORING_OP_LISTEN           uint8 = 57 // 6.11
	IORING_OP_RECV_ZC          uint8 = 58 // 6.15
	IORING_OP_EPOLL_WAIT       uint8 = 59 // 6.15
	IORING_OP_READV_FIXED      uint8 = 60 // 6.15
	IORING_OP_WRITEV_FIXED     uint8 = 61 // 6.15
	IORING_OP_PIPE             uint8 = 62 // 6.16
	IORING_OP_LAST             uint8 = 63 // one past the last operation of 6.18
)

// Bits of SQE.Ioprio for send and receive operations.
const (
	IORING_RECVSEND_POLL_FIRST  uint16 = 1 << 0
	IORING_RECV_MULTISHOT       uint16 = 1 << 1
	IORING_RECVSEND_FIXED_BUF   uint16 = 1 << 2
	IORING_SEND_ZC_REPORT_USAGE uint16 = 1 << 3
	IORING_RECVSEND_BUNDLE      uint16 = 1 << 4 // 6.10
	IORING_SEND_VECTORIZED      uint16 = 1 << 5 // 6.17
)

// IORING_NOTIF_USAGE_ZC_COPIED is the bit of the result of a completion with
// IORING_CQE_F_NOTIF that says bytes were copied after all; reported under
// IORING_SEND_ZC_REPORT_USAGE. It is the sign bit: test uint32(cqe.Res).
const IORING_NOTIF_USAGE_ZC_COPIED uint32 = 1 << 31

// Bits of SQE.Ioprio for IORING_OP_ACCEPT.
const (
	IORING_ACCEPT_MULTISHOT  uint16 = 1 << 0
	IORING_ACCEPT_DONTWAIT   uint16 = 1 << 1 // 6.10
	IORING_ACCEPT_POLL_FIRST uint16 = 1 << 2 // 6.10
)

// IORING_FILE_INDEX_ALLOC in SQE.FileIndex lets the kernel choose a free slot of
// the fixed file table for a new descriptor.
const IORING_FILE_INDEX_ALLOC uint32 = 1<<32 - 1

// Bits of SQE.Len for IORING_OP_POLL_ADD and IORING_OP_POLL_REMOVE; the event mask
// is in SQE.OpFlags.
const (
	IORING_POLL_ADD_MULTI        uint32 = 1 << 0
	IORING_POLL_UPDATE_EVENTS    uint32 = 1 << 1
	IORING_POLL_UPDATE_USER_DATA uint32 = 1 << 2
	IORING_POLL_ADD_LEVEL        uint32 = 1 << 3
)

// Bits of SQE.OpFlags for IORING_OP_ASYNC_CANCEL, and of SyncCancelReg.Flags.
const (
	IORING_ASYNC_CANCEL_ALL      uint32 = 1 << 0
	IORING_ASYNC_CANCEL_FD       uint32 = 1 << 1
	IORING_ASYNC_CANCEL_ANY      uint32 = 1 << 2
	IORING_ASYNC_CANCEL_FD_FIXED uint32 = 1 << 3
	IORING_ASYNC_CANCEL_USERDATA uint32 = 1 << 4 // 6.6
	IORING_ASYNC_CANCEL_OP       uint32 = 1 << 5 // 6.6
)

// Bits of SQE.OpFlags for IORING_OP_TIMEOUT and IORING_OP_LINK_TIMEOUT.
const (
	IORING_TIMEOUT_ABS           uint32 = 1 << 0
	IORING_TIMEOUT_UPDATE        uint32 = 1 << 1
	IORING_TIMEOUT_BOOTTIME      uint32 = 1 << 2
	IORING_TIMEOUT_REALTIME      uint32 = 1 << 3
	IORING_LINK_TIMEOUT_UPDATE   uint32 = 1 << 4
	IORING_TIMEOUT_ETIME_SUCCESS uint32 = 1 << 5
	IORING_TIMEOUT_MULTISHOT     uint32 = 1 << 6 // 6.4
)

// Commands of IORING_OP_MSG_RING, for SQE.Addr.
const (
	IORING_MSG_DATA    uint64 = 0 // Len arrives as the result, Off as user data
	IORING_MSG_SEND_FD uint64 = 1 // pass a fixed file to the other ring
)

// Bits of SQE.OpFlags for IORING_OP_MSG_RING.
const (
	IORING_MSG_RING_CQE_SKIP   uint32 = 1 << 0
	IORING_MSG_RING_FLAGS_PASS uint32 = 1 << 1 // 6.3: FileIndex becomes CQE.Flags
)

// IORING_FIXED_FD_NO_CLOEXEC is the bit of SQE.OpFlags by which
// IORING_OP_FIXED_FD_INSTALL leaves close-on-exec off.
const IORING_FIXED_FD_NO_CLOEXEC uint32 = 1 << 0

// IORING_NOP_INJECT_RESULT is the bit of SQE.OpFlags by which IORING_OP_NOP
// returns SQE.Len as its result (6.10).
const IORING_NOP_INJECT_RESULT uint32 = 1 << 0

// Commands of IORING_OP_URING_CMD on a socket, for the low half of SQE.Off.
const (
	SOCKET_URING_OP_SIOCINQ      uint64 = 0 // 6.7
	SOCKET_URING_OP_SIOCOUTQ     uint64 = 1 // 6.7
	SOCKET_URING_OP_GETSOCKOPT   uint64 = 2 // 6.7
	SOCKET_URING_OP_SETSOCKOPT   uint64 = 3 // 6.7
	SOCKET_URING_OP_TX_TIMESTAMP uint64 = 4 // 6.17
)
