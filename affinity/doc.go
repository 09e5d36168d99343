// Package affinity decides on which CPU each loop of a data plane runs, and
// puts it there.
//
// The way from machine to pinned thread:
//
//	sched_getaffinity ──┐
//	CPUs online ────────┼─> Topology.Allowed ──┐
//	cgroup cpuset ──────┘                      │
//	cores, sockets, nodes, kinds (sysfs) ──────┼─> Topology ─ Plan(Request) ─> Slot.CPU ─> Pin
//	cgroup CPU quota ──────────────────────────┤
//	cache line, brand (CPUID) ─────────────────┘
//
// [Discover] reads the machine once, at start. What it cannot read it replaces
// by the simplest assumption (each CPU a core of its own, one socket, one node)
// and says so in Topology.Notes.
// [DiscoverFS] is the same without the machine: a file system and a mask go in,
// a [Topology] comes out.
//
// [Topology.Plan] is arithmetic on that result. It gives every loop a physical
// core before any core gets a second loop, performance cores before efficiency
// cores, and keeps loops near each other: one socket and one NUMA node are
// filled before the next is touched, because loops hand messages to one another
// and share their buffers' cache lines. What the reader should know about the
// outcome (shared cores, more loops than CPUs, a quota that will throttle) is in
// Plan.Notes.
//
// [Pin] moves the calling thread. A loop is started like this:
//
//	top, err := affinity.Discover()
//	if err != nil {
//		return err
//	}
//	plan := top.Plan(affinity.Request{
//		Loops: top.DefaultLoops(runtime.GOMAXPROCS(0)),
//		Off:   affinity.OffByEnv(),
//	})
//	for _, slot := range plan.Slots {
//		go func() {
//			runtime.LockOSThread() // first lock, then pin; never unlock
//			if err := affinity.Pin(slot.CPU); err != nil {
//				log.Print(err) // runs unpinned, which is slower but correct
//			}
//			run()
//		}()
//	}
//
// # Traps of pinned threads
//
// The mask belongs to the thread, not to the goroutine, and stays on it:
//
//   - Lock before pinning. A pin on an unlocked goroutine hits whatever thread
//     it happens to be on, and threads the runtime starts from that one inherit
//     the mask.
//   - Never unlock. An unlocked thread returns to the scheduler with its mask,
//     and unrelated goroutines are then confined to that CPU. Let the goroutine
//     return while locked: the runtime ends the thread with it.
//   - Children inherit. A process started from the pinned goroutine, and a
//     thread made by C code it calls, run on that CPU alone. Start processes
//     from other goroutines.
//   - Discover from an ordinary goroutine. The mask is the calling thread's, so
//     from a pinned one the machine has a single CPU.
//
// # When not to pin
//
// Pinning takes a choice away from the kernel. On a machine shared with other
// busy programs, or under a CPU quota, a pinned loop waits for its CPU while
// another is idle. Request.Off, or KCM_AFFINITY=off in the environment of a
// program that asks [OffByEnv], plans loops without CPUs.
//
// # What the package does not do
//
// It sets no memory policy, moves no interrupts and steers no connections, and
// it does not follow changes: CPU hotplug or a cpuset edited later is seen by
// the next Discover.
package affinity
