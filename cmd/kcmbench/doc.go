// Kcmbench measures kcm, and any other echo server that speaks length-prefixed
// messages.
//
//	kcmbench run [flags]     send, check and time messages; the default
//	kcmbench serve [flags]   run the echo server alone
//	kcmbench slo [flags]     look for the highest rate that meets a target of latency
//	kcmbench sweep [flags]   do a run for each value of a flag
//	kcmbench compare A B     say whether two sides differ, from many runs of each
//	kcmbench ideal [flags]   simulate the queue of a load, without other costs
//	kcmbench report FILE...  make a page of results
//	kcmbench merge FILE...   add up the results of several generators
//	kcmbench probe [-json]   say what this machine offers
//	kcmbench completion SH   print a script for bash, zsh or fish that completes all this
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
// A message is a 4-byte big-endian length of the payload, then the payload (len32), or of
// another length prefix that -frame says. The server answers each message with itself, and run compares the reply with what
// was sent, to the last byte. Package bench says how load is made and time taken.
//
// # Load
//
// Without -rate the loop is closed: -depth messages of each connection are in flight,
// each reply is followed by the next message, after -think if that is given. With -rate
// it is open: messages leave at times fixed beforehand, by -arrival and -profile, or at
// those of a file with -replay. A closed loop does not show what a server that stops does
// to its users, for it stops as well.
//
//	-size       64  1KiB-4KiB  exp:1KiB  lognormal:1KiB,1,64-64KiB  bimodal:64,16KiB,5%
//	            file:NAME, a size on each line
//	-service    10us  10us-50us  exp:10us  lognormal:10us,1  bimodal:10us,2ms,1%
//	            file:NAME, a time on each line
//	-class      "get 90% size=64" -class "put 10% size=exp:4KiB service=50us"
//	-profile    bursty:10ms,90ms  ramp:1000  step:1000,2s
//	-batch      messages in a write
//	-churn      100, messages after which a connection is made anew, or 5s
//	-frame      len32  len16le  len32,inclusive  len16,offset=2
//
// Of a log-normal distribution the median and the standard deviation of the logarithm are
// given; sizes may have bounds behind. Each -class has figures of its own. In bursty the
// rate is the mean; ramp goes from its rate to -rate in the measured time, step from its
// rate to -rate after a time of it.
//
// # Service times
//
// With run -service each message carries the time the server is to work on it, drawn
// from a distribution: 10us, bimodal:10us,2ms,1% (1 % of the messages take 2 ms),
// exp:10us (exponential, of that mean) and those above. The payload then begins with
//
//	bytes 0-3   service time in microseconds, big endian
//	byte 4      0: compute for so long (spin), 1: wait for so long (sleep)
//
// and has 13 bytes or more. -service-mode says which; auto spins below 100us and sleeps
// from there on. Spinning is time that the thread runs: interruptions do not count. The
// server that run starts does the work, and so does serve -work
// message. A server that answers quick messages before slow ones that came first needs
// run -order=false: replies are then found by their number, and as strictly checked.
// Latency is reported by class, the quick and the slow, as well as over all.
//
// Run -record FILE writes a line for each measured message, and ideal says how long such
// a load waits and takes on a number of workers if nothing but the work takes time, from
// the same flags or the record. The record has no warm-up, so a queue simulated from it
// begins empty; and what a closed loop sends depends on the server that was measured.
//
//	kcmbench run -conns 32 -rate 30000 -arrival poisson -service bimodal:10us,2ms,1% -workers 4 -order=false
//	kcmbench ideal -conns 32 -rate 30000 -arrival poisson -service bimodal:10us,2ms,1% -workers 4
//
// # Search
//
// Slo offers rates in open loops until it knows the highest at which percentiles of the
// latency stay within limits. A trial holds if they do, nothing was lost and the generator
// was not late by its own fault; repeated trials decide on a rate, by majority, and give
// the interval. Package judge has the method.
//
//	kcmbench slo -p99 500us -p99.9 2ms -arrival poisson -json slo.json
//
// Sweep does a run for each value of a flag, or each combination of the values of several,
// and marks where the curve bends (Kneedle).
//
//	kcmbench sweep -over policy=idle,fifo -over rate=5000,10000,20000 -workers 4 -order=false
//
// # Comparison
//
// Compare says of percentiles, throughput and CPU time whether two sides differ, from ten
// runs or more of each: reports in files, or runs that it does now, in pairs that take
// turns in being first.
//
//	kcmbench compare A.json B.json
//	kcmbench compare -pairs 20 -a "-policy idle" -b "-policy fifo" -workers 4 -rate 20000
//
// # Output
//
// Run prints the machine, where server and generator ran, rate, cost per message and
// latency percentiles on standard output, and on standard error a line a second while
// it runs if that is a terminal. Serve prints "listening ADDR" as soon as it accepts,
// and its counters when SIGINT or SIGTERM has ended it: what has arrived is answered
// first. SIGINT and SIGTERM end the others early; they report what they have, run after a
// second at most, for replies to come. A connection that is not there after -timeout is
// given up, and so are replies that are missing so long after the end.
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
//	classes                      with -service or -class: [{name, service_us, share,
//	                             messages, latency_us, size}], by service time or by
//	                             class; share is that of the distribution, service_us a
//	                             mean if there are several
//	out_of_range                 times over a minute, which count as a minute
//	conns depth size rate        as given; size is a number, or a string for more than one
//	kinds profile replay think   as given; absent if they are not
//	churn batch
//	reconnects, connect_us       connections made anew in the measured time, and how long
//	                             that took; the latter with -churn only
//	arrival seed frame target
//	warmup_seconds service
//	service_mode order
//	env                          kernel cpu cpus cores quota governor mitigations go
//	                             gomaxprocs gogc version; modules, the versions of
//	                             others; topology; limits [{name, value}]; features of
//	                             io_uring in use; steal_percent of the measured time
//	server, generator            backend (in force) loops cpus notes cpu_ns_per_message
//	                             syscalls_per_message turns_per_message
//	                             sleeps_per_message; busy and waiting, the shares of the
//	                             time that the busiest thread ran and that it waited for
//	                             a processor; server only when embedded
//	policy, workers              who handled messages; only when the server is embedded
//	                             (cpu_ns_per_message is that of loops, without workers)
//	allocs_per_message           heap allocations of the process while measuring
//	verdict                      {valid, reasons}: whether the figures are the server's
//
//	series                       [{unix_ms, from_seconds, to_seconds, messages,
//	                             messages_per_second, latency_us, latency_actual_us,
//	                             lateness_us, in_flight, errors}], the intervals
//	histograms                   {NAME: {count, over, max_ns, sum_ns, v2}}; NAME is latency,
//	                             actual, lateness, connect or class:CLASS, v2 the one in
//	                             HdrHistogram's compressed form V2, in base64
//	began_unix_ms                when measuring began
//	clock                        {synchronised, max_error_us, estimated_error_us}, of
//	                             adjtimex(2)
//	parts                        what merge has added up: [{name, and keys of a report}]
//
// docs/kcmbench-schema.json is the JSON Schema of this.
//
// A line of run -series is an element of series; run -hdr writes an interval log of
// HdrHistogram in nanoseconds, where latency has no tag and other histograms their name;
// run -hgrm percentiles in microseconds. An interval has the replies that came in it, to
// messages of the measured time. The last one has those that came after the end too.
//
// The record of run is CSV: intended_ns, from the start of the run; service_ns; class,
// its name; conn, from 0; latency_ns, from the intended time.
//
// The JSON of ideal, written with ideal -json FILE, is one object, bench.IdealReport:
//
//	schema                       1
//	workers, messages            servers of the queue; messages of the measured time
//	load                         work that arrives, of what the workers can do
//	disciplines                  [{discipline, utilisation, waiting_us, sojourn_us, classes}]
//	classes                      [{name, messages, waiting_us, sojourn_us}]
//	waiting_us                   until work begins; fcfs only
//	sojourn_us                   until work ends
//
// The JSON of slo, written with slo -json FILE, is one object:
//
//	schema                       1
//	targets                      [{percentile, limit_us}]
//	rate                         the highest that passed, 0: none
//	low, high, confidence        the interval; 0: no such rate from the lowest, to the highest
//	limit, why                   what failed above: missed, lost, behind (the generator)
//	failure                      in words; absent if there was none
//	ideal                        {workers, rate, low, high}; with -service
//	rates                        [{rate, held, trials}]
//	trials                       [{rate, finding, why, figures}]; figures is run's object
//
// The JSON of sweep, written with sweep -json FILE, is one object:
//
//	schema                       1
//	over                         [{flag, values}], as given; the last changes fastest
//	rows                         [{flags, report, failure, ideal_workers, ideal_us}], a row
//	                             per run; report is run's object; ideal_us has the
//	                             percentiles of an ideal queue, open loop with -service
//	knees                        [{flags, along, of, at}]: at that value of the flag along
//	                             the key of bends most, the other flags being the same
//	failure                      in words; absent if there was none
//
// The JSON of compare, written with compare -json FILE, is one object:
//
//	schema                       1
//	paired, alpha                whether runs are in pairs; 1 less the confidence
//	a, b                         {flags or files, runs}; runs are run's objects
//	differ                       what the sides are unequal in
//	differences                  [{figure, runs_a, runs_b, a, b, ratio, low, high,
//	                             p_mann_whitney, p_signed_rank, p_holm, shown}]
//	failure                      in words; absent if there was none
//
// # Exit status
//
// 0 on success; 1 if the run failed, a message was lost, changed or duplicated, or the
// generator was the limit (see bench.Verdict; -verdict=false), or if slo, sweep or compare
// have no answer; 2 for wrong usage; 130 after SIGINT or SIGTERM, when what was measured
// until then has been reported. Errors are one line on standard error that names the flag
// or the address.
package main
