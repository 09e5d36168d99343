package uapi

// SQE is struct io_uring_sqe, 64 bytes. The kernel reads every field, so an entry
// is cleared and then filled through a pointer:
//
//	e := &sqes[tail&mask]
//	*e = uapi.SQE{}
//	e.Opcode = uapi.IORING_OP_NOP
//	e.UserData = 7
//
// Not by assigning a composite literal with values: the compiler builds it aside
// with narrow stores and copies it with wide loads, which wait for those stores;
// BenchmarkFill shows three to four times the cost. iouring-go's
// SubmissionQueueEntry64 fills as fast through its methods, but they reach neither
// Addr3 nor Pad2, and its fields cannot be read back.
type SQE struct {
	Opcode      uint8  // IORING_OP_*
	Flags       uint8  // IOSQE_*
	Ioprio      uint16 // IORING_RECVSEND_*, IORING_ACCEPT_* and the like
	Fd          int32  // descriptor, or index under IOSQE_FIXED_FILE
	Off         uint64 // off; addr2; cmd_op in the low half
	Addr        uint64 // addr; splice_off_in; level and optname
	Len         uint32 // bytes, iovecs, or poll flags
	OpFlags     uint32 // rw_flags, msg_flags, poll32_events, cancel_flags, ...
	UserData    uint64 // comes back in CQE.UserData
	BufIndex    uint16 // buf_index; buf_group under IOSQE_BUFFER_SELECT
	Personality uint16
	FileIndex   uint32 // file_index; splice_fd_in; optlen; addr_len in the low half
	Addr3       uint64 // addr3; optval
	Pad2        uint64
}

// CQE is struct io_uring_cqe, 16 bytes: a ring without IORING_SETUP_CQE32.
type CQE struct {
	UserData uint64
	Res      int32  // result, or a negated errno
	Flags    uint32 // IORING_CQE_F_*, buffer id in the upper 16 bits
}

// BufferID returns the id of the provided buffer the kernel picked. It means
// something only if Flags has IORING_CQE_F_BUFFER.
func (c *CQE) BufferID() uint16 { return uint16(c.Flags >> IORING_CQE_BUFFER_SHIFT) }

// Bits of SQE.Flags.
const (
	IOSQE_FIXED_FILE       uint8 = 1 << 0
	IOSQE_IO_DRAIN         uint8 = 1 << 1
	IOSQE_IO_LINK          uint8 = 1 << 2
	IOSQE_IO_HARDLINK      uint8 = 1 << 3
	IOSQE_ASYNC            uint8 = 1 << 4
	IOSQE_BUFFER_SELECT    uint8 = 1 << 5
	IOSQE_CQE_SKIP_SUCCESS uint8 = 1 << 6 // 5.17
)

// Bits of CQE.Flags.
const (
	IORING_CQE_F_BUFFER        uint32 = 1 << 0
	IORING_CQE_F_MORE          uint32 = 1 << 1
	IORING_CQE_F_SOCK_NONEMPTY uint32 = 1 << 2
	IORING_CQE_F_NOTIF         uint32 = 1 << 3
	IORING_CQE_F_BUF_MORE      uint32 = 1 << 4  // 6.12: the buffer is not used up
	IORING_CQE_F_SKIP          uint32 = 1 << 5  // 6.18: filler of a mixed ring
	IORING_CQE_F_32            uint32 = 1 << 15 // 6.18: a 32-byte entry of a mixed ring
	IORING_CQE_BUFFER_SHIFT           = 16
)
