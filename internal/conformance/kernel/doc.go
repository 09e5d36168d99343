// Package kernel is the engine that runs conformance scripts on the real AF_KCM.
//
// It needs the module kcm, CAP_NET_ADMIN and CAP_BPF with CAP_PERFMON, and a network
// namespace of its own: statistics are those of the namespace, and scripts expect to find
// them at zero. internal/conformance/guest provides all that, in a virtual machine.
//
// An action is a system call or a few, and 12 ms of waiting after it, which is longer than
// the kernel's work queues and loopback take on a machine with one processor. Calls are made without waiting (MSG_DONTWAIT)
// unless the script says so.
//
// # Parse programs
//
// AF_KCM runs a socket filter program over what a lower received. Such a program sees the
// bytes from the first one of the chunk, and is not told where in it the message begins:
// that is in the control buffer of the chunk's sk_buff, in the one word that socket filters
// may not read. The programs here fetch it with bpf_probe_read_kernel, for which they need
// CAP_PERFMON, so that they frame messages wherever these begin; the parser "doc" does not, as
// the example of the kernel's documentation. Sources of the layout: include/linux/skbuff.h and
// include/net/strparser.h of Linux 6.1 and 6.12.
//
// It is no client library for AF_KCM.
package kernel
