// Onelink has many workers share one TCP connection: each has a message socket of its
// own, jobs come in on the connection to whichever worker is free, and results leave on
// it whole, whoever sends them and however many at a time.
//
//	go run ./examples/onelink -workers 4 -jobs 12
//
// prints the results as the other side receives them, with the worker each is from, and
// at the end how many jobs each worker did. The jobs are numbers, the results their
// prime factors. A worker that is free takes the next one, so no more workers have a part
// in it than there are CPUs for.
//
//	the other side        package mux                                workers
//	(package net)
//	    jobs  --\      /--> parser -> the queue of all sockets --> socket 0: Recv
//	             one TCP                                       \-> socket 1: Recv
//	             connection                                          ...
//	  results <-/      \--- one socket's messages at a time <----- socket 0: Send
//	                                                        \----- socket 1: Send
//
// Without the sockets the workers would need a lock around every write, which a slow peer
// makes everybody wait for in the dark, and somebody who reads, cuts up and distributes.
// Here a socket gets the connection for a burst of its messages, and gives it up after 64
// KiB when another waits; when the peer does not read, Send waits once SendBytes of the
// worker's own are unsent. This is the kernel's KCM with many sockets over one TCP
// connection; the other side knows nothing of it and reads messages of a 4-byte length.
//
// Two options matter. FlowCap, -1 here, lets any number of the connection's jobs be at
// work at a time; it is 1 otherwise, and then one worker at a time has a job. And results
// come in the order in which they are ready, not in that of the jobs: who needs that
// answers with Received.Reply and Options.OrderedReplies.
//
// With -connect host:port the jobs come from there instead. On SIGINT or SIGTERM each
// worker finishes the job it has, and the results leave; the other side keeps the jobs that
// it has no result of. It has to leave the connection open in both directions until it
// has read its results: sockets do not send on one whose peer has finished.
package main
