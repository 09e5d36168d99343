package bench_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/kcm-go/kcm/bench"
)

// A short run against a server in the same process. Figures differ from run to run;
// that every reply came and was right does not.
func ExampleRun() {
	rep, err := bench.Run(context.Background(), bench.Config{
		Workload: bench.Workload{
			Conns:    4,
			Depth:    8,
			Size:     bench.Sizes{Min: 64, Max: 1024},
			Warmup:   10 * time.Millisecond,
			Duration: 50 * time.Millisecond,
		},
		Server:     bench.ServerOptions{Listen: "127.0.0.1:0", MaxMessage: 64 << 10},
		AnyVerdict: true, // a run so short shows nothing about the server
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("errors:", rep.Errors)
	fmt.Println("replies were timed:", rep.Messages > 0 && rep.Latency.Max > 0)
	fmt.Println("the cost of the server is known:", rep.Server != nil && rep.Server.Loops > 0)
	// Output:
	// errors: 0
	// replies were timed: true
	// the cost of the server is known: true
}

// One long job among short ones, on one worker: in turn all wait for it, sharing they
// pass it.
func ExampleIdeal() {
	jobs := []bench.Job{
		{Arrival: 0, Service: 2 * time.Millisecond},
		{Arrival: 100 * time.Microsecond, Service: 10 * time.Microsecond},
		{Arrival: 200 * time.Microsecond, Service: 10 * time.Microsecond},
	}
	for _, d := range []bench.Discipline{bench.FCFS, bench.PS} {
		fmt.Println(d, bench.Ideal(jobs, 1, d))
	}
	// Output:
	// fcfs [2ms 1.91ms 1.82ms]
	// ps [2.02ms 20µs 20µs]
}
