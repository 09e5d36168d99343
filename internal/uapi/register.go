package uapi

// Operations of io_uring_register(2), for Register and RegisterArg.
const (
	IORING_REGISTER_BUFFERS          uint32 = 0
	IORING_UNREGISTER_BUFFERS        uint32 = 1
	IORING_REGISTER_FILES            uint32 = 2
	IORING_UNREGISTER_FILES          uint32 = 3
	IORING_REGISTER_EVENTFD          uint32 = 4
	IORING_UNREGISTER_EVENTFD        uint32 = 5
	IORING_REGISTER_FILES_UPDATE     uint32 = 6
	IORING_REGISTER_EVENTFD_ASYNC    uint32 = 7
	IORING_REGISTER_PROBE            uint32 = 8
	IORING_REGISTER_PERSONALITY      uint32 = 9
	IORING_UNREGISTER_PERSONALITY    uint32 = 10
	IORING_REGISTER_RESTRICTIONS     uint32 = 11
	IORING_REGISTER_ENABLE_RINGS     uint32 = 12
	IORING_REGISTER_FILES2           uint32 = 13
	IORING_REGISTER_FILES_UPDATE2    uint32 = 14
	IORING_REGISTER_BUFFERS2         uint32 = 15
	IORING_REGISTER_BUFFERS_UPDATE   uint32 = 16
	IORING_REGISTER_IOWQ_AFF         uint32 = 17
	IORING_UNREGISTER_IOWQ_AFF       uint32 = 18
	IORING_REGISTER_IOWQ_MAX_WORKERS uint32 = 19
	IORING_REGISTER_RING_FDS         uint32 = 20 // 5.18
	IORING_UNREGISTER_RING_FDS       uint32 = 21
	IORING_REGISTER_PBUF_RING        uint32 = 22 // 5.19
	IORING_UNREGISTER_PBUF_RING      uint32 = 23
	IORING_REGISTER_SYNC_CANCEL      uint32 = 24 // 6.0
	IORING_REGISTER_FILE_ALLOC_RANGE uint32 = 25 // 6.0
	IORING_REGISTER_PBUF_STATUS      uint32 = 26 // 6.8
	IORING_REGISTER_NAPI             uint32 = 27 // 6.9
	IORING_UNREGISTER_NAPI           uint32 = 28
	IORING_REGISTER_CLOCK            uint32 = 29 // 6.12
	IORING_REGISTER_CLONE_BUFFERS    uint32 = 30 // 6.12
	IORING_REGISTER_SEND_MSG_RING    uint32 = 31 // 6.13
	IORING_REGISTER_ZCRX_IFQ         uint32 = 32 // 6.15
	IORING_REGISTER_RESIZE_RINGS     uint32 = 33 // 6.13
	IORING_REGISTER_MEM_REGION       uint32 = 34 // 6.13
	IORING_REGISTER_QUERY            uint32 = 35 // 6.18
	IORING_REGISTER_LAST             uint32 = 36 // one past the last operation of 6.18

	// IORING_REGISTER_USE_REGISTERED_RING is added to an operation when the
	// descriptor is an index of RegisterRing. Only RegisterArg can carry it.
	IORING_REGISTER_USE_REGISTERED_RING uint32 = 1 << 31
)

// RsrcRegister is struct io_uring_rsrc_register: IORING_REGISTER_FILES2 and
// IORING_REGISTER_BUFFERS2, whose count argument is the size of this structure.
type RsrcRegister struct {
	Nr    uint32
	Flags uint32 // IORING_RSRC_REGISTER_SPARSE
	Resv2 uint64
	Data  uint64 // address of descriptors (int32) or Iovecs
	Tags  uint64 // address of tags (uint64)
}

// IORING_RSRC_REGISTER_SPARSE registers Nr empty slots; Data is 0.
const IORING_RSRC_REGISTER_SPARSE uint32 = 1 << 0

// IORING_REGISTER_FILES_SKIP leaves a slot of the fixed file table as it is.
const IORING_REGISTER_FILES_SKIP int32 = -2

// RsrcUpdate is struct io_uring_rsrc_update: IORING_REGISTER_FILES_UPDATE and
// IORING_REGISTER_RING_FDS.
type RsrcUpdate struct {
	Offset uint32
	Resv   uint32
	Data   uint64 // address of descriptors (int32), or the ring's descriptor itself
}

// RsrcUpdate2 is struct io_uring_rsrc_update2: IORING_REGISTER_FILES_UPDATE2 and
// IORING_REGISTER_BUFFERS_UPDATE.
type RsrcUpdate2 struct {
	Offset uint32
	Resv   uint32
	Data   uint64
	Tags   uint64
	Nr     uint32
	Resv2  uint32
}

// SyncCancelReg is struct io_uring_sync_cancel_reg. Timeout of -1, -1 waits without
// limit; a time that passes ends the call with ETIME.
type SyncCancelReg struct {
	Addr    uint64 // user data to match
	Fd      int32
	Flags   uint32 // IORING_ASYNC_CANCEL_*
	Timeout Timespec
	Opcode  uint8
	_       [7]uint8
	_       [3]uint64
}

// FileIndexRange is struct io_uring_file_index_range, the slots [Off, Off+Len) from
// which IORING_FILE_INDEX_ALLOC takes.
type FileIndexRange struct {
	Off  uint32
	Len  uint32
	Resv uint64
}

// Napi is struct io_uring_napi: busy polling of network devices.
type Napi struct {
	BusyPollTo     uint32 // microseconds
	PreferBusyPoll uint8
	Opcode         uint8 // 6.13: 0 registers with the tracking of OpParam
	_              [2]uint8
	OpParam        uint32 // 6.13: 0 dynamic tracking, 1 static, 255 none
	Resv           uint32
}

// ClockRegister is struct io_uring_clock_register: the clock of timeouts inside
// enter, CLOCK_MONOTONIC or CLOCK_BOOTTIME.
type ClockRegister struct {
	Clockid uint32
	_       [3]uint32
}

// CloneBuffers is struct io_uring_clone_buffers: share the fixed buffers of SrcFd.
type CloneBuffers struct {
	SrcFd  uint32
	Flags  uint32 // IORING_REGISTER_SRC_REGISTERED, IORING_REGISTER_DST_REPLACE
	SrcOff uint32
	DstOff uint32
	Nr     uint32
	_      [3]uint32
}

// Bits of CloneBuffers.Flags.
const (
	IORING_REGISTER_SRC_REGISTERED uint32 = 1 << 0
	IORING_REGISTER_DST_REPLACE    uint32 = 1 << 1
)

// RegionDesc is struct io_uring_region_desc, memory shared with the kernel.
type RegionDesc struct {
	UserAddr   uint64 // page-aligned, under IORING_MEM_REGION_TYPE_USER
	Size       uint64 // bytes, whole pages
	Flags      uint32
	ID         uint32
	MmapOffset uint64 // from the kernel, without IORING_MEM_REGION_TYPE_USER
	_          [4]uint64
}

// IORING_MEM_REGION_TYPE_USER in RegionDesc.Flags takes the application's memory.
const IORING_MEM_REGION_TYPE_USER uint32 = 1

// MemRegionReg is struct io_uring_mem_region_reg, IORING_REGISTER_MEM_REGION.
type MemRegionReg struct {
	RegionUptr uint64 // address of a RegionDesc outside the Go heap
	Flags      uint64 // IORING_MEM_REGION_REG_WAIT_ARG
	_          [2]uint64
}

// IORING_MEM_REGION_REG_WAIT_ARG in MemRegionReg.Flags makes the region a table of
// RegWait. It is accepted only while the ring is disabled (IORING_SETUP_R_DISABLED).
const IORING_MEM_REGION_REG_WAIT_ARG uint64 = 1

// ProbeOp is struct io_uring_probe_op.
type ProbeOp struct {
	Op    uint8
	_     uint8
	Flags uint16 // IO_URING_OP_SUPPORTED
	_     uint32
}

// Probe is struct io_uring_probe with room for every operation code.
type Probe struct {
	LastOp uint8 // last operation code the kernel knows
	OpsLen uint8 // entries of Ops the kernel has filled
	_      uint16
	_      [3]uint32
	Ops    [256]ProbeOp
}

// IO_URING_OP_SUPPORTED in ProbeOp.Flags: this kernel implements the operation.
const IO_URING_OP_SUPPORTED uint16 = 1 << 0

// Supports reports whether the probed kernel implements operation op (IORING_OP_*).
// It says nothing about the flags of that operation: try those.
func (p *Probe) Supports(op uint8) bool {
	return op < p.OpsLen && p.Ops[op].Flags&IO_URING_OP_SUPPORTED != 0
}

// QueryHdr is struct io_uring_query_hdr of linux/io_uring/query.h (6.18).
type QueryHdr struct {
	NextEntry uint64 // address of the next QueryHdr, 0 ends the chain
	QueryData uint64 // address of the answer
	QueryOp   uint32
	Size      uint32 // bytes at QueryData; the kernel writes at most these
	Result    int32  // 0 or a negated errno
	_         [3]uint32
}

// IO_URING_QUERY_OPCODES in QueryHdr.QueryOp asks for a QueryOpcode.
const IO_URING_QUERY_OPCODES uint32 = 0

// QueryOpcode is struct io_uring_query_opcode: what this kernel knows, as masks of
// the constants in this package.
type QueryOpcode struct {
	NrRequestOpcodes  uint32
	NrRegisterOpcodes uint32
	FeatureFlags      uint64
	RingSetupFlags    uint64
	EnterFlags        uint64
	SqeFlags          uint64
	NrQueryOpcodes    uint32
	_                 uint32
}
