// Package ringtest is a simulated network with virtual time that loops run on
// instead of a kernel. Everything in it follows from one seed: a failure is
// found by trying seeds, and seen again by running its seed.
//
// It provides back ends, which know the whole contract of package backend and
// use all the freedom it leaves: bytes arrive in any pieces and any buffers,
// receives end early or for want of buffers that are there, sends are short or
// refused, cancels come late, events are held back and overtake each other,
// connections die. [Fault] lists it all, [Options] says how likely each is.
// [Calm] has none of it, [Storm] everything. What the contract forbids never
// happens; and a program that breaks its own side of it, say by closing a
// descriptor with an operation in flight, is stopped by a panic that shows the
// seed and the last things that happened.
//
// # The way of a byte
//
//	Peer.Write, or Send of another loop
//	  -> pipe        one direction of a stream, bounded; in segments, each with
//	                 a time of arrival drawn from the seed
//	  -> timer       the segment arrives; time is moved to this moment by Wait
//	                 or Step, when nothing is left to do before it
//	  -> operation   a running Recv copies bytes to a provided buffer, a Read to
//	                 its memory
//	  -> completion  an event waits in the loop's queue, perhaps for a while,
//	                 perhaps overtaken by events of other operations
//	  -> Wait        the event is delivered and the buffer adopted
//
// # Driving it
//
// With one loop, call its turn in a loop: Wait never sleeps, it moves the time
// on to the next event or to its time-out. [Sim.Idle] then tells that nothing
// will ever happen again.
//
// With several loops, and with far ends that the test moves, give all turns to
// [Sim.Run] or [Sim.Step]: the seed decides in which order they run, and time
// moves only when none of them has anything to do.
//
//	ringtest.Seeds(t, 1000, ringtest.Storm(), func(t *testing.T, sim *ringtest.Sim) {
//		a, b := open(sim.Open), open(sim.Open)
//		fdA, fdB := sim.PairLoops()
//		...
//		if err := sim.Run(done, a.Turn, b.Turn); err != nil {
//			t.Fatal(err)
//		}
//	})
//
// Seeds prints the seed and the end of the trace when a test fails; with
// KCM_SIM_SEED=n in the environment it runs that seed alone. [Sim.Hash] sums up
// a whole run in a number, so that a test can show that it repeats.
//
// # What a program under test must do
//
// Determinism is a joint effort: no goroutines, no walks over maps whose order
// matters, no clock but Now of the back end.
//
// A receive that ended with ENOBUFS is queued again when a buffer was provided
// since, or at once if no buffer is out: the event may be older than the
// buffers. A program that queues it again and again while every buffer is held
// spins, and since time stands still while programs run, Run reports it as
// [ErrStuck].
//
// # What it does not do
//
// It does not model congestion, Nagle's algorithm, routing, or the exact errors
// of half-open connections; it has no thread, so it finds no data race. Bytes
// are moved with copy, not looked at: it cannot tell whether they are right.
package ringtest
