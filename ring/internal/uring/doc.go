// Package uring is the io_uring backend: one ring per loop, owned by the loop's
// thread.
//
// # The way of an operation
//
//	Recv, Send, ...  fill a submission entry (ops_linux.go); what the entry
//	                 points to goes to the off-heap scratch (scratch_linux.go)
//	Wait             publishes the entries and makes one io_uring_enter, which
//	                 submits, runs the completions that are due on this thread
//	                 (DEFER_TASKRUN) and sleeps if it may (wait_linux.go)
//	queue            the completions become events, in order (queue_linux.go)
//
// The user data of an entry is the operation's [backend.Key] as it is, so a
// completion needs no table, no map and no pointer to become an event. Keys with
// the operation OpNone are the backend's own: wake-ups, the read of the wake descriptor and
// cancellations.
//
// Buffers travel the other way: Provide puts them into the provided-buffer ring
// (bufring_linux.go), the kernel takes one when bytes have arrived and not before,
// and the event carries it. The buffer's id in that ring is its block number in the
// pool.
//
// # What is asked of the kernel
//
// Linux 6.1: DEFER_TASKRUN, multishot accept and receive, provided-buffer rings.
// [New] finds out by trying and refuses with a [*RefusedError] where something is
// missing or forbidden; [Explain] turns that into a sentence with the cure, and
// [Probe] lists what this kernel offers. What New can do without has a bit in [Switches]
// and can be switched off.
//
// # Memory
//
// Rings and entries are mapped by the kernel. Everything else the kernel reads or
// writes after a call has returned lies in one anonymous mapping per backend. What
// an entry points to (iovecs, message headers, socket addresses) is used again after
// the submission, because the kernel has copied what it needs by then
// (IORING_FEAT_SUBMIT_STABLE).
//
// # What the package does not do
//
// It uses no SQPOLL thread, which needs a core of its own, no zero-copy send, which
// loses below some KiB, and no fixed files, which would cost a system call for every
// connection. It keeps no state per descriptor: Attach only exists for backends that
// must.
package uring
