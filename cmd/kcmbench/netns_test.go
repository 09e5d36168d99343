//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kcm-go/kcm/bench"
)

// namespaces makes network namespaces for a server and two generators, each of which has
// a cable to the server. It skips the test where that is not allowed.
func namespaces(t *testing.T) (server string, generators, addresses []string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("network namespaces need the program ip (package iproute2)")
	}
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	name := func(s string) string { return fmt.Sprintf("kcm%d%s", os.Getpid(), s) }
	add := func(ns string) {
		if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
			t.Skipf("network namespaces cannot be made here: %s", out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() }) // the devices go with it
		ip("-n", ns, "link", "set", "lo", "up")
	}
	server = name("s")
	add(server)
	for i := range 2 {
		ns := name(fmt.Sprint("g", i))
		add(ns)
		near, far := fmt.Sprint("near", i), fmt.Sprint("far", i)
		ip("-n", server, "link", "add", far, "type", "veth", "peer", "name", near, "netns", ns)
		ip("-n", server, "addr", "add", fmt.Sprintf("10.99.%d.1/30", i), "dev", far)
		ip("-n", ns, "addr", "add", fmt.Sprintf("10.99.%d.2/30", i), "dev", near)
		ip("-n", server, "link", "set", far, "up")
		ip("-n", ns, "link", "set", near, "up")
		// Both reach the server by the same address, as parts of one load do.
		ip("-n", ns, "route", "add", "10.98.0.1/32", "via", fmt.Sprintf("10.99.%d.1", i))
		generators = append(generators, ns)
	}
	ip("-n", server, "addr", "add", "10.98.0.1/32", "dev", "lo")
	return server, generators, []string{"10.98.0.1"}
}

// TestSynchronisedStart runs two generators on machines of their own, as far as networks
// go: they wait for the same moment, connected, and begin at it; their results add up.
func TestSynchronisedStart(t *testing.T) {
	server, generators, addresses := namespaces(t)
	dir := t.TempDir()
	file := func(i int, ext string) string { return filepath.Join(dir, fmt.Sprint(i, ext)) }
	inside := func(ns string, args ...string) *child {
		t.Helper()
		return startCommand(t, "ip", append([]string{"netns", "exec", ns, os.Args[0]}, args...)...)
	}
	s := inside(server, "serve", "-listen", addresses[0]+":7000", "-loops", "1")
	if line, err := s.out.ReadString('\n'); err != nil || !strings.HasPrefix(line, "listening ") {
		t.Fatalf("the server says %q, %v: %s", line, err, &s.stderr)
	}
	at := time.Now().Add(3 * time.Second)
	var runs []*child
	for i, ns := range generators {
		runs = append(runs, inside(ns, "run", "-target", addresses[0]+":7000", "-conns", "2", "-rate", "500", "-arrival", "poisson",
			"-seed", fmt.Sprint(i+1), "-warmup", "100ms", "-duration", "500ms", "-interval", "100ms", "-pin=false", "-verdict=false",
			"-start-at", fmt.Sprintf("@%d.%09d", at.Unix(), at.Nanosecond()), "-max-clock-error", "0",
			"-json", file(i, ".json"), "-hdr", file(i, ".hlog")))
	}
	for i, c := range runs {
		if err := c.wait(t); err != nil {
			t.Fatalf("generator %d: %v: %s", i, err, &c.stderr)
		}
	}
	var messages int64
	for i := range runs {
		rep, err := bench.ReadReport(file(i, ".json"))
		if err != nil {
			t.Fatal(err)
		}
		if want := at.Add(100 * time.Millisecond).UnixMilli(); rep.BeganUnixMillis < want-1 || rep.BeganUnixMillis > want+1 {
			t.Errorf("generator %d began at %d, want %d", i, rep.BeganUnixMillis, want)
		}
		messages += rep.Messages
	}
	for ext, want := range map[string]string{".json": fmt.Sprint("messages    ", messages, " in"), ".hlog": fmt.Sprint(3*messages, " times of 2 logs")} {
		out := filepath.Join(dir, "all"+ext)
		status, stdout, stderr := invoke(t, "merge", "-o", out, file(0, ext), file(1, ext))
		if status != 0 || messages == 0 || !strings.Contains(stdout, want) {
			t.Errorf("merge: exit %d: %s%s, want %q", status, stdout, stderr, want)
		}
	}
	if rep, err := bench.ReadReport(filepath.Join(dir, "all.json")); err != nil || rep.Messages != messages || len(rep.Parts) != 2 {
		t.Errorf("the sum: %v", err)
	}
}
