// Package uapi is the io_uring interface of the kernel as Go sees it: the
// layouts, the constants, the three system calls and the mappings. It holds no
// queue, no buffer pool and no policy; package ring builds those on it. No other
// package of this module names an io_uring constant or system call.
//
// A caller goes through it in this order:
//
//	p := uapi.Params{Flags: uapi.IORING_SETUP_CQSIZE, CQEntries: 4096}
//	fd, errno := uapi.Setup(256, &p)        // io_uring_setup(2)
//	mem, err := uapi.MapRings(fd, &p)       // SQ ring, CQ ring, SQEs
//	tail := uapi.At[uint32](mem.SQ, int(p.SQOffset.Tail))
//	sqes := uapi.Slice[uapi.SQE](mem.SQEs, 0, int(p.SQEntries))
//	...                                     // fill sqes, publish the tail
//	n, errno := uapi.EnterRaw(fd, 1, 0)     // submit, cannot sleep
//	n, errno = uapi.EnterWait(fd, 0, 1, uapi.IORING_ENTER_GETEVENTS, nil)
//	...                                     // read the CQ ring
//	err = mem.Unmap()
//
// Gather stands apart: it is sendmsg(2), for those who send without the ring.
//
// # Names
//
// Constants keep the kernel's own spelling (IORING_SETUP_SINGLE_ISSUER), because
// that is what one searches for. Structures drop the io_uring_ prefix and are
// camel-cased: struct io_uring_buf_reg is BufReg. Where the kernel has a union,
// the field is named after the member used most and its comment lists the others.
//
// # Two sources
//
// Set-up and plain registration go through the syscall package of
// github.com/iceber/iouring-go, whose parameter block is used as it is. That
// package ends at Linux 6.0, drops the result of io_uring_register, has no
// extended enter argument and allocates for an errno; those parts are written
// here against include/uapi/linux/io_uring.h of Linux 6.18. A test compares both
// wherever both exist.
//
// # Memory
//
// The kernel reads some memory after the call that named it has returned, and the
// structures here name memory by integers, which the garbage collector does not
// see. So every address stored in a structure of this package must be that of
// memory outside the Go heap and stacks, which is what MmapAnon returns. The
// structure itself may live anywhere when it is an argument of a function here:
// it is read before the call returns.
//
// # Systems
//
// The calls work on linux/amd64 and linux/arm64. Elsewhere the package compiles
// and every call fails with ENOSYS. All functions may be called from any
// goroutine; what the kernel demands in addition (one submitter under
// IORING_SETUP_SINGLE_ISSUER) is the caller's to keep.
package uapi
