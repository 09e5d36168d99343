// Package bench measures echo servers that speak length-prefixed messages: it sends
// a [Workload] over many connections, checks every reply to the last byte, and
// reports rate, latency and cost. It has an echo [Server] over package mux, and a
// generator that is one too: a mux client with one loop per thread, so that the
// generator costs about as much as the server. Program kcmbench is its command line.
//
// The way of a message:
//
//	Schedule ── due ──> frame ──> connection ──> server
//	(open loop)           ^                        │
//	                      │ closed loop: one       │
//	                      │ more for each reply    v
//	                  Hist <── check <── mux handler
//
//	rep, err := bench.Run(ctx, bench.Config{
//		Workload: bench.Workload{
//			Conns: 64, Depth: 16, Size: bench.Sizes{Min: 64, Max: 64},
//			Duration: 5 * time.Second, Warmup: time.Second,
//		},
//		Server: bench.ServerOptions{Listen: "127.0.0.1:0"},
//	})
//
// # Closed and open loop
//
// A closed loop (Rate 0) keeps Depth messages in flight on each connection. It
// finds the highest rate, and its latency is that of the rate it happened to
// reach: a server that stops for a second delays Depth messages per connection,
// however many a real load would have sent in that second.
//
// An open loop sends at times fixed beforehand (see [Schedule]) whatever the server
// does. Latency counts from the intended time, so what a slow server, or a slow
// generator, held up counts in full. The generator's own part is reported as
// lateness, and the latency from the time of sending beside it. What is in flight on
// a connection is bounded, by memory; a message that meets the bound waits, and so do
// those behind it in the schedule: that is lateness, never a message left out. One
// that is due and still unsent when the run ends is an error.
//
// So an open loop shows a server that stops for T under a load of rho of what it can do as
// T/(1-rho) of late messages: those that came while it stood, and until the queue was gone.
// A closed loop shows Depth messages of each connection, for it stops as well. Tests hold
// both against that, in virtual time.
//
// A [Profile] changes the rate of an open loop: bursts, a ramp, a step. A schedule can be
// replayed from a file. A Batch sends several messages at once. In a closed loop
// connections may Think between a reply and the next message. With a [Churn] connections
// end and are made anew, by the generator's own loop; what is due meanwhile waits and is
// late, and how long connecting took is in the Report.
//
// What a message is follows from its number and the seed: its [Kind] if there are
// several, its size from a distribution that is a [Sizes], its framing a [Frame].
//
// # Service times
//
// A Workload may carry work: each message says how long the server is to compute or to
// sleep before it answers, by a distribution that is a [Service]. A [Server] with
// [WorkMessage] does so, and [DoWork] does it for other handlers. Each [Class] of
// messages, a Kind or else the quick and the slow, has latencies of its own.
//
// What of a latency is the server's fault shows beside a queue that loses no time.
// [Ideal] simulates it: the same arrivals and service times, on a number of workers,
// first come, first served or sharing. [Workload.Jobs] foretells the load of a run, a
// [Trace] is the record of one.
//
// # What is checked
//
// Every message has a number that says its connection, place, size, service time and
// bytes (see token.go). Replies must be equal to what was sent, and those of a
// connection come in order: one that skips others makes those lost, one seen before is
// a duplicate, anything else corrupt. If the Workload is Unordered, each reply is found
// by its number instead, in a ring of what is in flight (see window.go), and skips
// nothing. After the end replies are waited for, by default 5 s; what is missing then
// is lost.
//
// # What is measured
//
// A message belongs to the measured time if its intended time (closed loop: the time
// it was sent) lies there. Times are taken once per connection and turn of the
// generator's loop: at the end of the turn for sending, when the first reply of a
// batch is handled for receiving. CPU time is that of the loops' threads.
//
// Over loopback, generator, server and the kernel's network stack share the
// machine, and on few cores such figures say more about the scheduler than about a
// network. The report has an [Env] so that figures are not compared across machines
// by mistake.
//
// Each Report has a [Verdict]: whether the generator kept up, so that the figures are
// those of the server. A run in which it did not fails, unless Config.AnyVerdict.
//
// Each thread records in a span of time, and hands it over at the end of an interval:
// with Config.Interval the Report has a series, and Config.OnInterval gets histograms
// while the run lasts, for a [LogWriter] for one. The run is the sum of its intervals
// (see interval.go). [MergeReports] and [MergeLogs] add up what generators on several
// machines measured, which start together at Config.StartAt; package page draws reports.
//
// The package does not compare servers or judge differences: package judge does, from
// many runs.
package bench
