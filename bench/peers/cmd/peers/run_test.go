//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kcm-go/kcm/bench/peers/internal/rig/rigtest"
)

func TestRun(t *testing.T) {
	bin, processes := rigtest.Fake(t, "ok")
	dir := t.TempDir()
	md, js := filepath.Join(dir, "out.md"), filepath.Join(dir, "out.json")
	var stdout, stderr strings.Builder
	err := run(t.Context(), []string{
		"-kcmbench", bin, "-servers", "kcm-uring,kcm-epoll,net,c-epoll", "-pairs", "2",
		"-duration", "40ms", "-warmup", "10ms", "-config", "2x1x64,2x4x1KiB", "-md", md, "-json", js,
	}, &stdout, &stderr)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	rigtest.CheckGone(t, processes())
	for _, p := range processes() {
		if line := strings.Join(p, " "); p[1] == "serve" && !strings.Contains(line, "-loops 1 -spin 0 -pin=true -max-message 16MiB") {
			t.Errorf("a server was started with %s", line)
		}
	}

	b, err := os.ReadFile(js)
	if err != nil {
		t.Fatal(err)
	}
	var rep report
	if err := json.Unmarshal(b, &rep); err != nil {
		t.Fatal(err)
	}
	if len(rep.Results) != 2 || rep.Results[1].Config != (config{Conns: 2, Depth: 4, Size: 1024}) {
		t.Fatalf("results for %+v", rep.Results)
	}
	servers := []string{"kcm-uring", "kcm-epoll", "net", "c-epoll"}
	for _, res := range rep.Results {
		var names []string
		for _, row := range res.Rows {
			names = append(names, row.Server)
			if row.Runs != 2 || row.CPUNanos <= 0 || row.PerSecond <= 0 {
				t.Errorf("%s: %+v", res.Config, row)
			}
			for _, q := range row.Ratios {
				if q.Pairs != 2 || q.Lo > q.Median || q.Median > q.Hi || q.Lo <= 0 || q.Confidence != 0.5 {
					t.Errorf("%s: %s: %+v", res.Config, row.Server, q)
				}
			}
			if want := map[bool]int{true: 2, false: 4}[slices.Contains(bases, row.Server)]; len(row.Ratios) != want {
				t.Errorf("%s: %s: %d ratios, want %d", res.Config, row.Server, len(row.Ratios), want)
			}
		}
		if !slices.Equal(names, servers) {
			t.Errorf("rows %v, want %v", names, servers)
		}
		// Every round has every server once, in rotated order.
		for i, s := range res.Samples {
			if want := servers[(i%4+i/4)%4]; s.Server != want || s.Round != i/4 {
				t.Errorf("sample %d is %s in round %d, want %s in %d", i, s.Server, s.Round, want, i/4)
			}
		}
	}
	file, err := os.ReadFile(md)
	if err != nil {
		t.Fatal(err)
	}
	if string(file) != stdout.String() {
		t.Error("-md differs from standard output")
	}
	for _, want := range []string{"### small: 2 connections, 4 in flight on each, 1 KiB", "| c-epoll ", "cpu kcm-uring/server", "50.0 % confidence"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %q in\n%s", want, stdout.String())
		}
	}
}

// A part whose load is a share of what servers reach is an open loop at that rate.
func TestRunShare(t *testing.T) {
	bin, processes := rigtest.Fake(t, "ok")
	js := filepath.Join(t.TempDir(), "out.json")
	err := run(t.Context(), []string{
		"-kcmbench", bin, "-only", "garbage", "-servers", "kcm-uring+two,kcm-uring+garbage,c-epoll", "-pairs", "1",
		"-duration", "40ms", "-warmup", "10ms", "-json", js,
	}, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	rigtest.CheckGone(t, processes())
	b, err := os.ReadFile(js)
	if err != nil {
		t.Fatal(err)
	}
	var rep report
	if err := json.Unmarshal(b, &rep); err != nil {
		t.Fatal(err)
	}
	if len(rep.Results) != 1 || rep.Results[0].Config.Rate < 1 || len(rep.Results[0].Rows) != 3 {
		t.Fatalf("results %+v", rep.Results)
	}
	open, closed := 0, 0
	for _, p := range processes() {
		switch line := strings.Join(p, " "); {
		case p[1] == "run" && strings.Contains(line, fmt.Sprintf("-rate %d ", rep.Results[0].Config.Rate)):
			open++
		case p[1] == "run" && !strings.Contains(line, "-rate"):
			closed++
		}
	}
	if open != 3 || closed != 3 {
		t.Errorf("%d open loops at the rate, %d closed ones, want 3 of each", open, closed)
	}
}

// Runs that fail are named, left out, and make the program fail at the end.
func TestRunFailures(t *testing.T) {
	for fault, want := range map[string]string{
		"generator fails":         "no luck",
		"generator counts errors": "3 errors",
		"server fails at its end": "a leak",
	} {
		t.Run(fault, func(t *testing.T) {
			bin, processes := rigtest.Fake(t, fault)
			var stdout strings.Builder
			err := run(t.Context(), []string{
				"-kcmbench", bin, "-servers", "kcm-epoll,c-epoll", "-pairs", "1",
				"-duration", "10ms", "-warmup", "0s", "-config", "1x1x1",
			}, &stdout, io.Discard)
			if err == nil {
				t.Error("run succeeds")
			}
			if text := fmt.Sprint(stdout.String(), err); !strings.Contains(text, want) {
				t.Errorf("no %q in: %s", want, text)
			}
			rigtest.CheckGone(t, processes())
		})
	}
}

// A server that cannot start is left out with its reason; that is no failure.
func TestRunSkips(t *testing.T) {
	bin, processes := rigtest.Fake(t, "no uring")
	var stdout strings.Builder
	err := run(t.Context(), []string{
		"-kcmbench", bin, "-servers", "kcm-uring,kcm-epoll,c-epoll", "-pairs", "1",
		"-duration", "10ms", "-warmup", "0s", "-config", "1x1x1",
	}, &stdout, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stdout.String(), "operation not permitted") {
		t.Errorf("the reason is missing:\n%s", stdout.String())
	}
	if strings.Contains(stdout.String(), "kcm-uring/server") {
		t.Errorf("a column for a server that did not run:\n%s", stdout.String())
	}
	rigtest.CheckGone(t, processes())
}

// An interrupt while the generator runs leaves no process behind.
func TestRunInterrupted(t *testing.T) {
	bin, processes := rigtest.Fake(t, "generator hangs")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-kcmbench", bin, "-servers", "kcm-uring", "-pairs", "1"}, io.Discard, io.Discard)
	}()
	generating := func(p []string) bool { return p[1] == "run" }
	for deadline := time.Now().Add(20 * time.Second); !slices.ContainsFunc(processes(), generating); {
		if time.Now().After(deadline) {
			t.Fatal("the generator does not start")
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("run = %v, want %v", err, context.Canceled)
	}
	if n := len(processes()); n != 3 {
		t.Errorf("%d processes, want a check, a server and a generator", n)
	}
	rigtest.CheckGone(t, processes())
}

func TestFlagErrors(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-servers net,nosuch", `no server "nosuch", have kcm-uring,`},
		{"-servers net,net", "twice"},
		{"-config 64x1", `config "64x1": want CONNSxDEPTHxSIZE[@RATE]`},
		{"-config 1x1x64@0", `rate "0"`},
		{"-servers net+nosuch", `no variant "nosuch", have garbage, idle, spin, two`},
		{"-only nosuch", `no part "nosuch", have small,`},
		{"-config 0x1x64", "at least 1 connection"},
		{"-config 1x1x17MiB", "0 to 16 MiB"},
		{"-pairs 0", "-pairs 0"},
		{"-duration 0s", "want some time"},
		{"-server-cpu 100000", "CPU 100000 is not allowed here"},
		{"net", `unexpected argument "net"`},
		{"-root /nonexistent -kcmbench /nonexistent -servers net", "/nonexistent"},
	} {
		err := run(t.Context(), strings.Fields(tt.args), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", tt.args, err, tt.want)
		}
	}
}

func TestConfigString(t *testing.T) {
	const list = "64x1x64,8x4x64KiB,1x2x3MiB,1x1x0,64x1x64@30000"
	configs, err := parseConfigs(list)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range configs {
		names = append(names, c.String())
	}
	if got, want := strings.Join(names, ","), list; got != want {
		t.Errorf("configs %s, want %s", got, want)
	}
}
