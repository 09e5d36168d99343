//go:build linux

package main

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/kcm-go/kcm/bench"
	"github.com/kcm-go/kcm/ring"
)

// A server that had no message has no figure for each.
func TestServeWithoutMessages(t *testing.T) {
	c := start(t, "serve", "-listen", "127.0.0.1:0", "-loops", "1")
	if line, err := c.out.ReadString('\n'); err != nil || !strings.HasPrefix(line, "listening ") {
		t.Fatalf("first line %q, %v", line, err)
	}
	rest, status := c.end(t, os.Interrupt)
	if status != 0 {
		t.Errorf("status %d: %s", status, &c.stderr)
	}
	if !strings.Contains(rest, "\nmessages 0\n") || !strings.Contains(rest, "\nallocations - per message\n") {
		t.Errorf("counters:\n%s", rest)
	}
}

// The example in the text of -features is one that a loop takes.
func TestFeaturesExample(t *testing.T) {
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	defineServer(f, &bench.ServerOptions{}, "")
	m := regexp.MustCompile(`such as ([^:]+):`).FindStringSubmatch(f.Lookup("features").Usage)
	if m == nil {
		t.Fatal("no example")
	}
	l, err := ring.New(ring.Options{Backend: ring.Epoll, Features: m[1]})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
