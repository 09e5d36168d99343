//go:build amd64 || arm64

package uapi

import (
	iouring "github.com/iceber/iouring-go/syscall"
)

// Params is struct io_uring_params. The caller sets SQEntries and CQEntries (the
// latter under IORING_SETUP_CQSIZE), Flags, SQThreadCPU, SQThreadIdle
// (milliseconds) and WQFd, and leaves the rest zero; Setup fills in what the
// kernel grants: both entry counts, Features and the offsets.
//
// Under IORING_SETUP_NO_MMAP the Resv2 fields of both offset blocks are the
// kernel's user_addr: the page-aligned addresses of the SQEs and of the rings.
type Params = iouring.IOURingParams

// SQOffsets is struct io_sqring_offsets: where the words of the SQ ring lie, in
// bytes from the start of its mapping.
type SQOffsets = iouring.SubmissionQueueRingOffset

// CQOffsets is struct io_cqring_offsets: where the words of the CQ ring lie, in
// bytes from the start of its mapping.
type CQOffsets = iouring.CompletionQueueRingOffset
