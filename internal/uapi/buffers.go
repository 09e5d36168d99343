package uapi

// Iovec is struct iovec of a 64-bit system with the address as an integer, so that
// it can lie in memory the garbage collector does not scan.
type Iovec struct {
	Base uint64
	Len  uint64 // bytes
}

// MsgHdr is struct user_msghdr of a 64-bit system, the argument of
// IORING_OP_SENDMSG and IORING_OP_RECVMSG, with addresses as integers.
type MsgHdr struct {
	Name       uint64
	Namelen    uint32
	_          uint32
	Iov        uint64 // address of Iovecs
	Iovlen     uint64 // count
	Control    uint64
	Controllen uint64
	Flags      uint32
	_          uint32
}

// RecvmsgOut is struct io_uring_recvmsg_out. It heads each buffer that multishot
// IORING_OP_RECVMSG fills; after it come the name and control areas, each as long
// as the request's MsgHdr said, then the payload.
type RecvmsgOut struct {
	Namelen    uint32 // length the name has, which may exceed the area
	Controllen uint32
	Payloadlen uint32
	Flags      uint32 // MSG_*
}

// Buf is struct io_uring_buf, one entry of a provided-buffer ring.
//
// The ring's 16-bit tail lies over the last two bytes of entry 0 (struct
// io_uring_buf_ring), at BufRingTailOffset. Those two bytes are Tail here; in
// every other entry they are unused. A producer publishes the tail with a release
// store. Go has no 16-bit atomics, so it stores the aligned 32-bit word at
// BufRingTailOffset-2, which holds Bid of entry 0 below the tail.
type Buf struct {
	Addr uint64
	Len  uint32 // bytes
	Bid  uint16
	Tail uint16
}

// BufRingTailOffset is the offset of the tail in a provided-buffer ring, in bytes.
const BufRingTailOffset = 14

// BufReg is struct io_uring_buf_reg, IORING_REGISTER_PBUF_RING and its undoing.
type BufReg struct {
	RingAddr    uint64 // page-aligned; 0 under IOU_PBUF_RING_MMAP
	RingEntries uint32 // power of two, at most 32768
	Bgid        uint16
	Flags       uint16 // IOU_PBUF_RING_*
	_           [3]uint64
}

// Bits of BufReg.Flags.
const (
	IOU_PBUF_RING_MMAP uint16 = 1 // 6.4: the kernel allocates; map at IORING_OFF_PBUF_RING
	IOU_PBUF_RING_INC  uint16 = 2 // 6.12: buffers are used up piece by piece
)

// BufStatus is struct io_uring_buf_status, IORING_REGISTER_PBUF_STATUS (6.8).
type BufStatus struct {
	BufGroup uint32 // in
	Head     uint32 // out: the kernel's head
	_        [8]uint32
}
