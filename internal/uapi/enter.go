package uapi

// Flags of io_uring_enter(2).
const (
	IORING_ENTER_GETEVENTS       uint32 = 1 << 0
	IORING_ENTER_SQ_WAKEUP       uint32 = 1 << 1
	IORING_ENTER_SQ_WAIT         uint32 = 1 << 2
	IORING_ENTER_EXT_ARG         uint32 = 1 << 3 // 5.11; EnterWait adds it
	IORING_ENTER_REGISTERED_RING uint32 = 1 << 4 // 5.18; fd is an index of RegisterRing
	IORING_ENTER_ABS_TIMER       uint32 = 1 << 5 // 6.12
	IORING_ENTER_EXT_ARG_REG     uint32 = 1 << 6 // 6.13; EnterWaitReg adds it
	IORING_ENTER_NO_IOWAIT       uint32 = 1 << 7 // 6.15
)

// Timespec is struct __kernel_timespec: seconds and nanoseconds, 64 bits each on
// every architecture.
type Timespec struct {
	Sec  int64
	Nsec int64
}

// GetEventsArg is struct io_uring_getevents_arg, the extended argument of
// EnterWait. The kernel copies it and what it points to before it sleeps.
type GetEventsArg struct {
	Sigmask     uint64 // address of a sigset, 0 for none
	SigmaskSz   uint32 // bytes
	MinWaitUsec uint32 // microseconds; 6.12, IORING_FEAT_MIN_TIMEOUT
	Ts          uint64 // address of a Timespec outside the Go heap, 0 for no timeout
}

// RegWait is struct io_uring_reg_wait (6.13), one slot of a region registered with
// IORING_REGISTER_MEM_REGION and IORING_MEM_REGION_REG_WAIT_ARG. EnterWaitReg
// names a slot by its offset in bytes, so nothing is copied per call.
type RegWait struct {
	Ts          Timespec // counts when Flags has IORING_REG_WAIT_TS
	MinWaitUsec uint32
	Flags       uint32
	Sigmask     uint64
	SigmaskSz   uint32
	_           [3]uint32
	_           [2]uint64
}

// IORING_REG_WAIT_TS in RegWait.Flags says that RegWait.Ts holds a timeout.
const IORING_REG_WAIT_TS uint32 = 1 << 0
