package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kcm-go/kcm/internal/conformance"
	"github.com/kcm-go/kcm/internal/conformance/muxengine"
	"github.com/kcm-go/kcm/ring"
)

// atOnce is how many scripts run at a time: most of the time they wait.
const atOnce = 16

// runMux runs the scripts on package mux, on each back end, and returns how many were not as
// recorded. With the flag update it records the outcomes of the first one.
func runMux(o *options, cases []conformance.Case, stdout io.Writer) (bad int, err error) {
	for i, b := range []ring.Backend{ring.Auto, ring.Epoll} {
		start := time.Now()
		outcomes, backend, err := playMux(cases, b)
		if err != nil {
			return bad, err
		}
		if i == 0 && o.update {
			for _, c := range cases {
				if err := conformance.RecordOwn(c.Script, muxengine.Name, outcomes[c.Name]); err != nil {
					return bad, fmt.Errorf("%s: %w", c.Name, err)
				}
				if err := os.WriteFile(filepath.Join(o.dir, c.Name+".txt"), []byte(c.String()), 0o644); err != nil {
					return bad, err
				}
			}
		}
		n := compare(stdout, "package mux over "+backend, muxengine.Name, cases, outcomes)
		fmt.Fprintf(stdout, "package mux over %s: %d scripts, %.1f s; %d not as recorded\n",
			backend, len(cases), time.Since(start).Seconds(), n)
		bad += n
	}
	return bad, nil
}

// playMux returns the outcomes by name of the script, and what the back end is called.
func playMux(cases []conformance.Case, b ring.Backend) (map[string][]string, string, error) {
	var mu sync.Mutex
	var failed error
	var backend string
	outcomes := make(map[string][]string)
	room := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for _, c := range cases {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			e, err := muxengine.New(b)
			var got []string
			if err == nil {
				got = conformance.Play(e, c.Script, nil)
				err = e.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = fmt.Errorf("%s: %w", c.Name, err)
				return
			}
			outcomes[c.Name], backend = got, e.Backend()
		})
	}
	all.Wait()
	return outcomes, backend, failed
}
