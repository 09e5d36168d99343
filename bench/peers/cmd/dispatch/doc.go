// Dispatch compares how servers hand messages to workers: what that does to the
// tail of the latency, and what it costs.
//
//	go run ./cmd/dispatch                            # everything, about 20 minutes
//	go run ./cmd/dispatch -parts tail -pairs 6 -servers kcm-idle,netpool
//
// The load is the same for all servers, in tail and one to the message: Poisson arrivals over 32
// connections, most messages 10 us of computing (the worker spins), one in a
// hundred 2 ms of waiting (the worker sleeps), 4 workers. Of interest are the
// quick ones, which should not notice the others while a worker is free.
//
//	tail     latency and CPU time at a fixed rate, with slow messages and without
//	slo      the highest rate at which the p99 of quick messages stays under a limit
//	one      as tail, with one connection for everything
//	handoff  messages per CPU second when messages are no work at all, so that
//	         handing over is all there is: a closed loop, 2 workers
//
// # Bounds
//
// What no dispatch can avoid is computed, not measured: the waiting times of the
// very same messages if 4 workers took them first come, first served, and nothing
// else took time (kcmbench ideal). A server whose dispatch is perfect has the p99
// that it has without slow messages, and that. Half as much again is allowed.
//
// CPU time is per message and less the time that messages spin, for that is the
// same for all. See package rig for what is counted.
//
// The end of the report has the targets of kcm-idle. One that fails is printed as
// MISSED and does not make the program fail; runs that fail do.
package main
