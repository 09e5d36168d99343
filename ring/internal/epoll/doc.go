// Package epoll is the backend on epoll and non-blocking system calls, for
// kernels and sandboxes without io_uring. It meets the completion contract of
// package backend on an interface that reports readiness; the difference is made
// up here and not in the loop.
//
// # The data's way
//
// Attach registers a descriptor once, edge-triggered. From then on the backend
// believes what epoll and its own system calls tell it: a descriptor becomes
// readable with an edge and stops being so with a short read, it stops being
// writable with a short write and becomes so again with an edge.
//
//	           edge                    turn
//	epoll ------------> mark ------> ready list ------> serve ----> events
//	                      |             ^    not empty    |            ^
//	                      | Poll,       +-----------------+            |
//	                      | Connect                                    |
//	                      +----------------> due ----------------------+
//	Send, Cancel ---------------------------> |   the next Wait
//
// Send writes at once; its event waits in due for the next Wait. Recv, Read,
// Accept and RecvMsg book the operation at the descriptor. One Wait then does
// this:
//
//  1. It delivers what is due. If that is all there is to do it returns without
//     a system call, every second time at most.
//  2. It calls epoll_wait, raw and without time-out if something is at hand
//     already, else sleeping, and marks what is reported.
//  3. It serves each descriptor in the ready list once: up to a few buffers
//     each, so that one flooder does not hold up the others. Those with more go
//     to the end of the list, and while there are any no Wait sleeps.
//
// In the steady state of an echo that is one receive and one send per batch of a
// connection and one epoll_wait per turn: what a hand-written C loop does.
//
// # What it does not do
//
// It does not ask for write space before it is needed: EPOLLOUT is added with
// the first Poll or Connect that has to wait. It never reads the eventfd behind
// Wake. It holds no buffer between two Waits except those provided.
package epoll
