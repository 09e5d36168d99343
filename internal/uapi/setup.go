package uapi

// Flags of io_uring_setup(2), for Params.Flags.
const (
	IORING_SETUP_IOPOLL             uint32 = 1 << 0
	IORING_SETUP_SQPOLL             uint32 = 1 << 1
	IORING_SETUP_SQ_AFF             uint32 = 1 << 2
	IORING_SETUP_CQSIZE             uint32 = 1 << 3
	IORING_SETUP_CLAMP              uint32 = 1 << 4
	IORING_SETUP_ATTACH_WQ          uint32 = 1 << 5
	IORING_SETUP_R_DISABLED         uint32 = 1 << 6
	IORING_SETUP_SUBMIT_ALL         uint32 = 1 << 7
	IORING_SETUP_COOP_TASKRUN       uint32 = 1 << 8
	IORING_SETUP_TASKRUN_FLAG       uint32 = 1 << 9
	IORING_SETUP_SQE128             uint32 = 1 << 10
	IORING_SETUP_CQE32              uint32 = 1 << 11
	IORING_SETUP_SINGLE_ISSUER      uint32 = 1 << 12 // 6.0
	IORING_SETUP_DEFER_TASKRUN      uint32 = 1 << 13 // 6.1, needs SINGLE_ISSUER
	IORING_SETUP_NO_MMAP            uint32 = 1 << 14 // 6.5
	IORING_SETUP_REGISTERED_FD_ONLY uint32 = 1 << 15 // 6.5, needs NO_MMAP
	IORING_SETUP_NO_SQARRAY         uint32 = 1 << 16 // 6.6
	IORING_SETUP_HYBRID_IOPOLL      uint32 = 1 << 17 // 6.13
	IORING_SETUP_CQE_MIXED          uint32 = 1 << 18 // 6.18
)

// Features the kernel reports in Params.Features.
const (
	IORING_FEAT_SINGLE_MMAP     uint32 = 1 << 0
	IORING_FEAT_NODROP          uint32 = 1 << 1
	IORING_FEAT_SUBMIT_STABLE   uint32 = 1 << 2
	IORING_FEAT_RW_CUR_POS      uint32 = 1 << 3
	IORING_FEAT_CUR_PERSONALITY uint32 = 1 << 4
	IORING_FEAT_FAST_POLL       uint32 = 1 << 5
	IORING_FEAT_POLL_32BITS     uint32 = 1 << 6
	IORING_FEAT_SQPOLL_NONFIXED uint32 = 1 << 7
	IORING_FEAT_EXT_ARG         uint32 = 1 << 8  // 5.11: timeout inside enter
	IORING_FEAT_NATIVE_WORKERS  uint32 = 1 << 9  // 5.12
	IORING_FEAT_RSRC_TAGS       uint32 = 1 << 10 // 5.13
	IORING_FEAT_CQE_SKIP        uint32 = 1 << 11 // 5.17
	IORING_FEAT_LINKED_FILE     uint32 = 1 << 12 // 5.17
	IORING_FEAT_REG_REG_RING    uint32 = 1 << 13 // 6.3: register through a registered ring
	IORING_FEAT_RECVSEND_BUNDLE uint32 = 1 << 14 // 6.10
	IORING_FEAT_MIN_TIMEOUT     uint32 = 1 << 15 // 6.12: GetEventsArg.MinWaitUsec
	IORING_FEAT_RW_ATTR         uint32 = 1 << 16 // 6.14
	IORING_FEAT_NO_IOWAIT       uint32 = 1 << 17 // 6.15
)

// Offsets for mmap(2) on the ring's descriptor.
const (
	IORING_OFF_SQ_RING    uint64 = 0
	IORING_OFF_CQ_RING    uint64 = 0x8000000
	IORING_OFF_SQES       uint64 = 0x10000000
	IORING_OFF_PBUF_RING  uint64 = 0x80000000 // | bgid << IORING_OFF_PBUF_SHIFT
	IORING_OFF_PBUF_SHIFT        = 16
	IORING_OFF_MMAP_MASK  uint64 = 0xf8000000
)

// Bits of the word at Params.SQOffset.Flags, written by the kernel.
const (
	IORING_SQ_NEED_WAKEUP uint32 = 1 << 0 // the SQPOLL thread sleeps
	IORING_SQ_CQ_OVERFLOW uint32 = 1 << 1 // completions wait in the kernel for room
	IORING_SQ_TASKRUN     uint32 = 1 << 2 // under TASKRUN_FLAG: work waits for an enter
)

// IORING_CQ_EVENTFD_DISABLED is the bit of the word at Params.CQOffset.Flags by
// which the application silences a registered eventfd.
const IORING_CQ_EVENTFD_DISABLED uint32 = 1 << 0

// SyscallSetup, SyscallEnter and SyscallRegister are the numbers of the three
// system calls, the same on every architecture. A seccomp profile must allow them.
const (
	SyscallSetup    = 425
	SyscallEnter    = 426
	SyscallRegister = 427
)
