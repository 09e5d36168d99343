//go:build linux

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kcm-go/kcm/internal/leak"
)

// TestMain is the server when measure starts this program as one.
func TestMain(m *testing.M) {
	if name := os.Getenv(serverEnv); name != "" {
		if err := runServer(name, os.Stdin, os.Stdout); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	leak.Main(m)
}

// TestRun measures each server for a moment.
func TestRun(t *testing.T) {
	for _, plain := range []bool{false, true} {
		var out bytes.Buffer
		o := options{rounds: 1, flows: 2, window: 4, size: 500, time: 20 * time.Millisecond, plain: plain, servers: names()}
		if _, err := measure("uring", o); err != nil {
			o.servers = []string{"net", "epoll-plain", "epoll"} // no io_uring here
		} else if plain {
			o.servers = []string{"uring-plain", "uring"}
		}
		if err := run(o, &out); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 1+len(o.servers) {
			t.Fatalf("%q", lines)
		}
		for i, line := range lines[1:] {
			if f := strings.Fields(line); len(f) != 8 || f[0] != o.servers[i] || f[1] == "0" || f[4] == "0" {
				t.Errorf("%q", line)
			}
		}
	}
}

// TestResults: medians of even and odd numbers.
func TestResults(t *testing.T) {
	rs := []result{{rate: 3}, {rate: 1}, {rate: 10}}
	rate := func(r result) float64 { return r.rate }
	if s := spread(rs, rate); s != "3\t1\t10" {
		t.Errorf("%q", s)
	}
	if s := spread(rs[:2], rate); s != "2\t1\t3" {
		t.Errorf("%q", s)
	}
}

// TestRefused: what makes no sense is an error.
func TestRefused(t *testing.T) {
	if err := run(options{}, &bytes.Buffer{}); err == nil {
		t.Error("no rounds: no error")
	}
	if err := runServer("nobody", strings.NewReader(""), &bytes.Buffer{}); err == nil {
		t.Error("no such server: no error")
	}
}
