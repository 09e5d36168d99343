package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// rude is a server that does with each connection what it is told.
func rude(t *testing.T, with func(c net.Conn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				with(c)
			}()
		}
	}()
	return ln.Addr().String()
}

// silent reads and never answers, until the other side closes.
func silent(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// whole reads the JSON of a run, which must be complete.
func whole(t *testing.T, file string) (rep struct {
	Failure string `json:"failure"`
	Total   int64  `json:"messages_total"`
	Errors  int64  `json:"errors"`
}) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &rep)
	}
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// Whatever is wrong with a server is one clear line, status 1, a complete file, and does
// not take longer than it should.
func TestRunAgainstRudeServers(t *testing.T) {
	first := func(c net.Conn) []byte { // the first message
		b := make([]byte, 68)
		_, _ = io.ReadFull(c, b) // what is missing shows
		return b
	}
	for name, c := range map[string]struct {
		with func(net.Conn)
		want string
	}{
		"closes at once":       {func(net.Conn) {}, "connection "},
		"closes after reading": {func(c net.Conn) { first(c) }, "connection "},
		"closes inside a reply": {func(c net.Conn) {
			_, _ = c.Write(first(c)[:30]) // the other side says what it thinks of it
		}, "connection "},
		"answers in another protocol": {func(c net.Conn) {
			first(c)
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") // likewise
			silent(c)
		}, "exceeds the maximum"},
		"answers garbage": {func(c net.Conn) {
			first(c)
			_, _ = c.Write([]byte{0, 0, 0, 3, 'a', 'b', 'c'}) // likewise
			silent(c)
		}, "has 3 bytes, want 64"},
		"answers the wrong message": {func(c net.Conn) {
			b := first(c)
			b[10] ^= 1
			_, _ = c.Write(b) // likewise
			silent(c)
		}, "corrupt"},
		"never answers": {silent, "200ms after the end replies were still missing"},
	} {
		for load, args := range map[string][]string{"closed": nil, "open": {"-rate", "200"}} {
			t.Run(name+", "+load, func(t *testing.T) {
				t.Parallel()
				addr, file := rude(t, c.with), filepath.Join(t.TempDir(), "out.json")
				begun := time.Now()
				status, stdout, stderr := invoke(t, append([]string{"run", "-verdict=false", "-target", addr, "-conns", "2", "-warmup", "0",
					"-duration", "300ms", "-timeout", "200ms", "-json", file}, args...)...)
				took := time.Since(begun)
				if status != 1 || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "kcmbench run: "+addr+": ") || !strings.Contains(stderr, c.want) {
					t.Errorf("status %d, error %q, want 1 and one line with %q", status, stderr, c.want)
				}
				if !strings.Contains(stdout, "errors ") {
					t.Errorf("no report:\n%s", stdout)
				}
				if rep := whole(t, file); rep.Errors == 0 || "kcmbench run: "+rep.Failure+"\n" != stderr {
					t.Errorf("%+v", rep)
				}
				if took > 20*time.Second { // of half a second; the machine may be busy
					t.Errorf("it took %v", took)
				}
			})
		}
	}
}

// A server that takes no connections is given up in time, and named.
func TestRunAgainstUnreachableTargets(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := ln.Addr().String()
	ln.Close()
	for target, want := range map[string]string{
		refused:                   "connection refused",
		full(t):                   "no connection within 200ms",
		"nobody.invalid:7":        "nobody.invalid",
		"unix:/nonexistent/s":     "/nonexistent/s",
		"127.0.0.1:no-such-thing": "no-such-thing",
	} {
		begun := time.Now()
		status, stdout, stderr := invoke(t, "run", "-target", target, "-conns", "8", "-timeout", "200ms")
		if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d, output %q, error %q, want 1 and one line with %q", target, status, stdout, stderr, want)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("%s: it took %v", target, took)
		}
	}
}

// full returns the address of a listener that has one connection and takes no more: the
// kernel leaves further ones unanswered.
func full(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}).String()
}

// Ctrl-C ends a run in its warm-up, while it measures and while it waits for replies; it
// reports what it has, its files are complete, and the status is 130.
func TestRunInterruptedAnywhere(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		answer bool
	}{
		"warm-up":             {[]string{"-warmup", "1h"}, true},
		"measuring":           {[]string{"-warmup", "0", "-duration", "1h"}, true},
		"open loop":           {[]string{"-warmup", "0", "-duration", "1h", "-rate", "500", "-churn", "3"}, true},
		"waiting for replies": {[]string{"-warmup", "0", "-duration", "10ms", "-timeout", "1h"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			heard := make(chan struct{}, 1)
			addr := rude(t, func(conn net.Conn) {
				b := make([]byte, 4096)
				for {
					n, err := conn.Read(b)
					if err != nil {
						return
					}
					select {
					case heard <- struct{}{}:
					default:
					}
					if !c.answer {
						continue
					}
					if _, err := conn.Write(b[:n]); err != nil {
						return
					}
				}
			})
			dir := t.TempDir()
			file, record := filepath.Join(dir, "out.json"), filepath.Join(dir, "out.csv")
			gen := start(t, append([]string{"run", "-verdict=false", "-target", addr, "-conns", "2", "-json", file, "-record", record}, c.args...)...)
			select {
			case <-heard:
			case <-time.After(20 * time.Second):
				t.Fatal("no message from the generator")
			}
			out, status := gen.end(t, syscall.SIGINT)
			if status != 130 || gen.stderr.String() != "kcmbench run: interrupted\n" {
				t.Errorf("status %d: %s", status, &gen.stderr)
			}
			if !strings.Contains(out, "\nlatency ") || !strings.Contains(out, "\nverdict ") {
				t.Errorf("report:\n%s", out)
			}
			rep := whole(t, file)
			if rep.Failure != "interrupted" || (rep.Errors > 0) == c.answer {
				t.Errorf("%+v", rep)
			}
			b, err := os.ReadFile(record)
			if err != nil || !bytes.HasPrefix(b, []byte("intended_ns,")) || !bytes.HasSuffix(b, []byte("\n")) {
				t.Errorf("record %.100q, %v", b, err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	if status := dispatch(ctx, []string{"run", "-verdict=false", "-listen", "127.0.0.1:0", "-max-message", "64KiB"}, &out, &errs); status != 130 || errs.String() != "kcmbench run: interrupted\n" {
		t.Errorf("before it began: status %d: %s", status, &errs)
	}
}

// A run in which the generator was the limit fails, unless it is told not to.
func TestRunFailsByItsVerdict(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.json")
	for _, verdict := range []bool{true, false} {
		args := []string{"run", "-rate", "1000", "-max-lateness", "1ns", "-warmup", "0", "-duration", "50ms", "-max-message", "64KiB", "-json", file}
		if !verdict {
			args = append(args, "-verdict=false")
		}
		status, stdout, stderr := invoke(t, args...)
		if !strings.Contains(stdout, "\nverdict     not valid, the generator was the limit: ") {
			t.Errorf("verdict %v: no reason in\n%s", verdict, stdout)
		}
		const why = "kcmbench run: the generator was the limit, not the server: "
		if verdict && (status != 1 || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, why)) || !verdict && (status != 0 || stderr != "") {
			t.Errorf("verdict %v: status %d, error %q", verdict, status, stderr)
		}
		b, err := os.ReadFile(file)
		var rep struct {
			Verdict struct {
				Valid   bool     `json:"valid"`
				Reasons []string `json:"reasons"`
			} `json:"verdict"`
		}
		if err == nil {
			err = json.Unmarshal(b, &rep)
		}
		if err != nil || rep.Verdict.Valid || len(rep.Verdict.Reasons) == 0 {
			t.Errorf("verdict %v: %+v, %v", verdict, rep, err)
		}
	}
}
