// Kcmbench measures kcm, and any other echo server that speaks length-prefixed
// messages.
//
//	kcmbench run [flags]     send, check and time messages; the default
//	kcmbench serve [flags]   run the echo server alone
//	kcmbench probe [-json]   say what this machine offers
//
// Without a target, run starts an echo server in its own process, so
//
//	kcmbench -conns 64 -depth 16 -size 64
//
// needs nothing else. Against a server elsewhere:
//
//	kcmbench serve -listen 127.0.0.1:7000 &
//	kcmbench run -target 127.0.0.1:7000 -rate 20000 -arrival poisson -json out.json
//
// A message is a 4-byte big-endian length of the payload, then the payload (len32).
// The server answers each message with itself, and run compares the reply with what
// was sent, to the last byte. Package bench says how load is made and time taken.
//
// # Output
//
// Run prints the machine, where server and generator ran, rate, cost per message and
// latency percentiles on standard output, and on standard error a line a second while
// it runs if that is a terminal. Serve prints "listening ADDR" as soon as it accepts,
// and its counters when SIGINT or SIGTERM has ended it: what has arrived is answered
// first. SIGINT and SIGTERM end run early; it reports what it has, and fails.
//
// The JSON of run is one object, bench.Report, written with run -json FILE, after a
// failure as well unless the run could not begin. Its keys:
//
//	schema                       1; keys are only added within a version
//	messages, messages_total     right replies: of the measured time; with warm-up
//	seconds                      the measured time
//	messages_per_second          messages / seconds
//	mb_per_second                payload in one direction, 10^6 bytes
//	errors                       lost + unsent + corrupt + duplicate + broken
//	lost, unsent                 messages without a reply; due and never sent
//	corrupt, duplicate           replies
//	broken                       connections that ended
//	failure                      in words; absent if there was none
//	latency_us                   p50 p90 p99 p99_9 p99_99 max mean, in microseconds; from
//	                             the intended time (open loop) or sending (closed loop)
//	latency_actual_us            the same, from the time of sending; open loop only
//	lateness_us                  the same, sending after the intended time; open loop only
//	out_of_range                 times over a minute, which count as a minute
//	conns depth size rate        as given; size is a number or "MIN-MAX"
//	arrival seed frame target
//	warmup_seconds
//	env                          kernel cpu cpus cores quota governor mitigations go
//	                             gomaxprocs gogc version
//	server, generator            backend (in force) loops cpus notes cpu_ns_per_message
//	                             syscalls_per_message turns_per_message
//	                             sleeps_per_message; server only when embedded
//	allocs_per_message           heap allocations of the process while measuring
//
// # Exit status
//
// 0 on success; 1 if the run failed or a message was lost, changed or duplicated; 2
// for wrong usage. Errors are one line on standard error that names the flag or the
// address.
package main
