// Package rig runs servers against the generator, in processes of their own on
// CPUs of their own, and compares what they used. It is what the programs peers
// and dispatch share; they choose servers and loads, and lay out the report.
//
// The way of one number:
//
//	[Open] builds the generator, [Builder] the servers
//	-> [Rig.Check] leaves out what cannot run here
//	-> [Rig.Once] starts a server, pinned, reads its CPU time, runs the
//	   generator, pinned, reads the CPU time again, and stops the server
//	-> [Compare] takes the ratios of two servers within rounds
//	-> [Table], [Write]
//
// CPU time is the scheduler's account of the server's threads over the whole
// life of the generator. So it has the cost of accepting connections in it, and
// of an idle engine, but no start-up. It is what the kernel charges to the
// server; what the network stack does on the generator's account is in nobody's
// number.
//
// Every child is ended by its own process id, also when the program is
// interrupted, and no step waits without a limit. The package needs Linux;
// elsewhere it compiles and Open fails.
package rig
