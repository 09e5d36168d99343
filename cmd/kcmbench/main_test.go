package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/bench"
	"github.com/kcm-go/kcm/internal/leak"
	"github.com/kcm-go/kcm/ring"
)

// asProgram, if set, makes the test binary behave as the program.
const asProgram = "KCMBENCH_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	leak.Main(m)
}

// invoke runs the program in this process.
func invoke(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = dispatch(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

// backends returns the -backend values that work here.
func backends(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, b := range []ring.Backend{ring.URing, ring.Epoll} {
		l, err := ring.New(ring.Options{Backend: b})
		if err == nil {
			if err = l.Start(); err == nil {
				err = l.Close()
			}
		}
		switch {
		case err == nil:
			names = append(names, b.String())
		case !errors.Is(err, errors.ErrUnsupported):
			t.Fatal(err)
		}
	}
	if len(names) == 0 {
		t.Skip("no back end")
	}
	return names
}

func TestUsage(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"frobnicate", `kcmbench: no command "frobnicate"`},
		{"run extra", `unexpected argument "extra"`},
		{"serve extra", `unexpected argument "extra"`},
		{"probe extra", `unexpected argument "extra"`},
		{"-nonsense", "-nonsense"},
		{"-conns 0", "-conns 0: want 1 to"},
		{"-conns many", "-conns"},
		{"-depth 0", "-depth 0: want 1 to"},
		{"-size -1", "-size"},
		{"-size 9-8", "-size"},
		{"-size 1GiB", "-size 1073741824: want 0 to"},
		{"-size 1KiB -max-message 1023", "-size 1024: want at most max-message"},
		{"-rate -5", "-rate -5: want"},
		{"-rate NaN", "-rate NaN: want"},
		{"-arrival bursty", `"bursty" for flag -arrival: want fixed or poisson`},
		{"-duration 0", "-duration 0s: want"},
		{"-duration 5", "-duration"},
		{"-warmup -1s", "-warmup -1s: want"},
		{"-frame json", `"json" for flag -frame: want lenBITS`},
		{"-backend kqueue", `-backend: back end "kqueue": want auto, uring or epoll`},
		{"-threads 0", "-threads 0: want at least 1"},
		{"-threads 3 -conns 2", "-threads 3: want 1 to the number of connections, 2"},
		{"-target here", "-target here: want host:port or unix:/path"},
		{"-target unix:", "-target unix:: want host:port or unix:/path"},
		{"-target 127.0.0.1:1 -loops 2", "-loops is for the server in this process"},
		{"-listen there", "-listen there: want host:port or unix:/path"},
		{"-policy sharded", `"sharded" for flag -policy: want inline, idle or fifo`},
		{"-policy fifo", "-workers 0: want at least 1 with the policy fifo"},
		{"-policy inline -workers 2", "-workers 2: want none with the policy inline"},
		{"-target 127.0.0.1:1 -workers 2", "-workers is for the server in this process"},
		{"-loops -1", "-loops -1: want 0 or more"},
		{"-spin -1s", "-spin -1s: want"},
		{"-max-message 1TiB", "-max-message"},
		{"-max-message 1GiB", "-max-message 1073741824: want up to"},
		{"-service -1s", `"-1s" for flag -service: want whole microseconds`},
		{"-service 10", `"10" for flag -service: want TIME, TIME-TIME, bimodal:`},
		{"-service 1500ns", "-service: want whole microseconds, 1us to 1m0s"},
		{"-service exp:2m", "-service: want whole microseconds, 1us to 1m0s"},
		{"-service normal:10us", "-service: want TIME, TIME-TIME, bimodal:"},
		{"-service bimodal:10us,2ms", "-service: want TIME, TIME-TIME, bimodal:"},
		{"-service bimodal:2ms,10us,1%", "-service: want the longer time second"},
		{"-service bimodal:10us,2ms,100%", "-service: want more than 0% and less than 100%"},
		{"-service 10us -size 12", "-size 12: want at least 13 bytes"},
		{"-service-mode wait", `"wait" for flag -service-mode: want auto, spin or sleep`},
		{"-order=maybe", `"maybe" for -order`},
		{"-order=false -size 7", "-size 7: want at least 8 bytes"},
		{"-work message", "-work"},
		{"-size exp:0", "-size: want at least a byte"},
		{"-size normal:5", "-size: want SIZE, MIN-MAX, exp:"},
		{"-size file:/nonexistent/file", "-size: open /nonexistent/file"},
		{"-service lognormal:10us,0", "-service: want a sigma"},
		{"-frame len12", `"len12" for flag -frame: want lenBITS`},
		{"-frame len8 -size 256", "-size 256: want at most what the length field of len8 holds"},
		{"-class get", "flag -class: want"},
		{"-class=a|50%", "flag -class: want"},
		{"-profile sine", `"sine" for flag -profile: want steady, bursty:`},
		{"-profile ramp:10", "-profile ramp:10: want steady, unless there is a rate"},
		{"-rate 10 -think 1ms", "-think 1ms: want 0 in an open loop"},
		{"-batch 2", "-batch 2: want at most the depth, 1"},
		{"-batch -1", "-batch -1: want 1 to"},
		{"-churn -1", `"-1" for flag -churn: want a number of messages or a time`},
		{"-replay /nonexistent/file", "-replay: open /nonexistent/file"},
		{"-max-lateness -1s", "-max-lateness -1s: want a time"},
		{"serve -frame len99", "-frame: want lenBITS"},
		{"serve -listen there", "-listen there: want host:port or unix:/path"},
		{"serve -loops -1", "-loops -1: want 0 or more"},
		{"serve -policy idle", "-workers 0: want at least 1 with the policy idle"},
		{"serve -workers -1", "-workers -1: want 0 or more"},
		{"serve -conns 3", "-conns"},
		{"serve -service -1s", "-service -1s: want"},
		{"serve -service exp:10us", "-service"},
		{"serve -work hard", `"hard" for flag -work: want fixed or message`},
		{"serve -work message -service 10us", "-service 10µs: want 0, for the messages say how long"},
		{"ideal extra", `unexpected argument "extra"`},
		{"ideal", "-rate 0: want messages per second"},
		{"ideal -rate 1000", "-service 0: want a distribution"},
		{"ideal -rate 1e9 -service 1us", "-rate 1e+09: want at most 20000000 messages in all"},
		{"ideal -rate 10 -service 1us -conns 0", "-conns 0: want 1 to"},
		{"ideal -rate 10 -service 1us -duration 0", "-duration 0s: want"},
		{"ideal -rate 10 -service 1us -warmup -1s", "-warmup -1s: want"},
		{"ideal -rate 10 -service 1us -arrival bursty", "-arrival: want fixed or poisson"},
		{"ideal -rate 10 -service soon", "-service: want TIME, TIME-TIME, bimodal:"},
		{"ideal -rate 10 -service 1us -workers 0", "-workers 0: want 1 to"},
		{"ideal -rate 10 -service 1us -discipline lifo", `"lifo" for flag -discipline: want fcfs, ps or both`},
		{"ideal -trace x -rate 10", "-rate is for a load of flags, which -trace replaces"},
		{"ideal -size 64", "-size"},
	} {
		status, stdout, stderr := invoke(t, strings.Fields(c.args)...)
		if status != 2 || stdout != "" {
			t.Errorf("%s: status %d, output %q, want 2 and none", c.args, status, stdout)
		}
		if !strings.HasPrefix(stderr, "kcmbench") || strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: error %q, want one line with %q", c.args, stderr, c.want)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-h", "kcmbench serve [flags]"},
		{"help", "kcmbench probe [-json]"},
		{"run -h", "latency_us"},
		{"run -h", "-max-message"},
		{"serve -help", "-listen"},
		{"probe -h", "-json"},
		{"run -h", "bimodal:TIME,TIME,PERCENT%"},
		{"run -h", "intended_ns,service_ns,class,conn,latency_ns"},
		{"serve -h", "-work fixed"},
		{"ideal -h", "sojourn_us"},
		{"help", "kcmbench ideal [flags]"},
	} {
		status, stdout, stderr := invoke(t, strings.Fields(c.args)...)
		if status != 0 || stderr != "" || !strings.Contains(stdout, c.want) {
			t.Errorf("%s: status %d, errors %q, no %q in\n%s", c.args, status, stderr, c.want, stdout)
		}
	}
}

func TestRun(t *testing.T) {
	for _, backend := range backends(t) {
		file := filepath.Join(t.TempDir(), "out.json")
		status, stdout, stderr := invoke(t, "-verdict=false", "-backend", backend, "-conns", "3", "-depth", "2", "-size", "0-1KiB", "-rate", "2000",
			"-arrival", "poisson", "-duration", "50ms", "-warmup", "10ms", "-seed", "7", "-max-message", "64KiB", "-json", file)
		if status != 0 || stderr != "" {
			t.Fatalf("%s: status %d: %s", backend, status, stderr)
		}
		for _, want := range []string{"kernel", "server", "generator", "messages/s", "p99.99", "lateness", "errors      0 "} {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s: no %q in\n%s", backend, want, stdout)
			}
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var rep struct {
			bench.Report
			Size string `json:"size"`
		}
		if err := json.Unmarshal(b, &rep); err != nil {
			t.Fatal(err)
		}
		if rep.Schema != 1 || rep.Messages == 0 || rep.Conns != 3 || rep.Size != "0-1024" || rep.Rate != 2000 ||
			rep.Arrival != "poisson" || rep.Seed != 7 || rep.Seconds != 0.05 || rep.Server == nil || rep.Frame != "len32" {
			t.Errorf("%s: %s", backend, b)
		}
	}
}

// A server of its own that works as messages say, a run against it, and the ideal of
// that load, from the flags and from the record.
func TestServiceTimes(t *testing.T) {
	for _, backend := range backends(t) {
		dir := t.TempDir()
		out, trace, ideal := filepath.Join(dir, "out.json"), filepath.Join(dir, "trace.csv"), filepath.Join(dir, "ideal.json")
		c := start(t, "serve", "-listen", "127.0.0.1:0", "-backend", backend, "-loops", "1", "-max-message", "64KiB", "-work", "message")
		line, err := c.out.ReadString('\n')
		addr, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "listening ")
		if err != nil || !ok {
			t.Fatalf("%s: first line %q, %v", backend, line, err)
		}
		load := []string{"-conns", "5", "-rate", "500", "-arrival", "poisson", "-service", "bimodal:20us,1ms,20%",
			"-duration", "200ms", "-warmup", "0", "-seed", "3"}
		status, stdout, stderr := invoke(t, append([]string{"run", "-verdict=false", "-target", addr, "-backend", backend, "-order=false",
			"-service-mode", "spin", "-json", out, "-record", trace}, load...)...)
		if status != 0 {
			t.Fatalf("%s: status %d: %s", backend, status, stderr)
		}
		for _, want := range []string{"bimodal:20us,1ms,20%, mode spin", "replies in any order", "  20us ", "  1ms "} {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s: no %q in\n%s", backend, want, stdout)
			}
		}
		var rep bench.Report
		var raw map[string]json.RawMessage
		b, err := os.ReadFile(out)
		if err == nil {
			err = errors.Join(json.Unmarshal(b, &raw), json.Unmarshal(raw["classes"], &rep.Classes), json.Unmarshal(raw["messages"], &rep.Messages))
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(rep.Classes) != 2 || rep.Classes[0].Messages+rep.Classes[1].Messages != rep.Messages {
			t.Fatalf("%s: %d messages, classes %+v", backend, rep.Messages, rep.Classes)
		}
		for _, class := range rep.Classes {
			if class.Messages == 0 || class.Latency.P50 < class.ServiceMicros {
				t.Errorf("%s: %+v", backend, class)
			}
		}

		var texts []string
		for _, from := range [][]string{load, {"-trace", trace}} {
			status, stdout, stderr := invoke(t, append([]string{"ideal", "-workers", "2", "-json", ideal}, from...)...)
			if status != 0 || stderr != "" {
				t.Fatalf("%s: status %d: %s", backend, status, stderr)
			}
			texts = append(texts, stdout)
			var res bench.IdealReport
			if b, err = os.ReadFile(ideal); err == nil {
				err = json.Unmarshal(b, &res)
			}
			if err != nil {
				t.Fatal(err)
			}
			if res.Schema != 1 || res.Workers != 2 || int64(res.Messages) != rep.Messages || len(res.Disciplines) != 2 ||
				res.Disciplines[0].Waiting == nil || res.Disciplines[1].Waiting != nil {
				t.Errorf("%s: %s", backend, b)
			}
		}
		// A record lists classes as they appear, which may be the other way round.
		sorted := func(s string) string {
			lines := strings.Split(s, "\n")
			slices.Sort(lines)
			return strings.Join(lines, "\n")
		}
		if sorted(texts[0]) != sorted(texts[1]) {
			t.Errorf("%s: from the flags\n%sfrom the record\n%s", backend, texts[0], texts[1])
		}
		status, stdout, stderr = invoke(t, "ideal", "-trace", trace, "-discipline", "ps")
		if status != 0 || strings.Contains(stdout, "fcfs") || !strings.Contains(stdout, "\nps ") {
			t.Errorf("%s: status %d: %s%s", backend, status, stdout, stderr)
		}
	}
}

func TestRunFails(t *testing.T) {
	// A server that closes every connection.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	addr := ln.Addr().String()
	file := filepath.Join(t.TempDir(), "out.json")
	for _, c := range []struct {
		args []string
		want string // in the error
	}{
		{[]string{"-target", addr, "-duration", "10s", "-json", file}, addr},
		{[]string{"-listen", addr}, addr},
		{[]string{"-target", "unix:/nonexistent/socket"}, "/nonexistent/socket"},
		{[]string{"-verdict=false", "-duration", "1ms", "-warmup", "0", "-max-message", "64KiB", "-json", "/nonexistent/file"}, "-json: open /nonexistent/file"},
		{[]string{"-verdict=false", "-duration", "1ms", "-warmup", "0", "-max-message", "64KiB", "-record", "/nonexistent/file"}, "-record: open /nonexistent/file"},
		{[]string{"serve", "-listen", addr}, addr},
		{[]string{"ideal", "-trace", "/nonexistent/file"}, "-trace: open /nonexistent/file"},
		{[]string{"ideal", "-rate", "10", "-service", "1us", "-duration", "1s", "-json", "/nonexistent/file"}, "-json: open /nonexistent/file"},
	} {
		status, _, stderr := invoke(t, c.args...)
		if status != 1 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: status %d, error %q, want 1 and one line with %q", c.args, status, stderr, c.want)
		}
	}
}

func TestProbe(t *testing.T) {
	status, stdout, stderr := invoke(t, "probe")
	if status != 0 || stderr != "" {
		t.Fatalf("status %d: %s", status, stderr)
	}
	for _, want := range []string{"kernel", "back end", "io_uring", "memlock", "nofile", "allowed", "plan of loops"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	status, stdout, stderr = invoke(t, "probe", "-json")
	if status != 0 || stderr != "" {
		t.Fatalf("status %d: %s", status, stderr)
	}
	var p probe
	if err := json.Unmarshal([]byte(stdout), &p); err != nil {
		t.Fatal(err)
	}
	if len(p.Features) == 0 || p.Backend == "" || p.Topology == nil || len(p.Plan.Slots) == 0 || len(p.Limits) < 3 {
		t.Errorf("%s", stdout)
	}
	for _, f := range p.Features {
		if f.State != "yes" && f.Why == "" {
			t.Errorf("%s is %s without a reason", f.Name, f.State)
		}
	}
}

// child is the program in a process of its own.
type child struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	stderr bytes.Buffer
}

func start(t *testing.T, args ...string) *child {
	t.Helper()
	return startCommand(t, os.Args[0], args...)
}

// startCommand starts a command that leads to the program.
func startCommand(t *testing.T, name string, args ...string) *child {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	c := &child{cmd: exec.CommandContext(ctx, name, args...)}
	c.cmd.Env = append(os.Environ(), asProgram+"=1")
	c.cmd.Stderr = &c.stderr
	pipe, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(pipe)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel() // kills it if it still runs
		_ = c.cmd.Wait()
	})
	return c
}

// wait waits for the end, and returns an error unless the status is 0.
func (c *child) wait(t *testing.T) error {
	t.Helper()
	if _, err := io.Copy(io.Discard, c.out); err != nil {
		t.Fatal(err)
	}
	return c.cmd.Wait()
}

// end sends a signal and returns the rest of the output and the exit status.
func (c *child) end(t *testing.T, sig os.Signal) (rest string, status int) {
	t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c.out)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait() // the status says it
	return string(b), c.cmd.ProcessState.ExitCode()
}

func TestServeAndRunAcrossProcesses(t *testing.T) {
	sigs := []os.Signal{syscall.SIGTERM, syscall.SIGINT}
	for i, backend := range backends(t) {
		listen := "127.0.0.1:0"
		if backend == "epoll" {
			listen = "unix:" + filepath.Join(t.TempDir(), "socket")
		}
		c := start(t, "serve", "-listen", listen, "-backend", backend, "-loops", "1", "-max-message", "64KiB")
		line, err := c.out.ReadString('\n')
		addr, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "listening ")
		if err != nil || !ok {
			t.Fatalf("%s: first line %q, %v", backend, line, err)
		}
		file := filepath.Join(t.TempDir(), "out.json")
		status, _, stderr := invoke(t, "run", "-verdict=false", "-target", addr, "-backend", backend, "-conns", "2", "-depth", "4",
			"-duration", "50ms", "-warmup", "0", "-json", file)
		if status != 0 {
			t.Fatalf("%s: status %d: %s", backend, status, stderr)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var rep struct {
			Total  int64           `json:"messages_total"`
			Target string          `json:"target"`
			Server json.RawMessage `json:"server"`
		}
		if err := json.Unmarshal(b, &rep); err != nil {
			t.Fatal(err)
		}
		if rep.Target != addr || rep.Server != nil || rep.Total == 0 {
			t.Errorf("%s: %s", backend, b)
		}
		rest, status := c.end(t, sigs[i%len(sigs)])
		if status != 0 || c.stderr.Len() > 0 {
			t.Errorf("%s: status %d: %s", backend, status, &c.stderr)
		}
		counters := map[string]string{}
		for line := range strings.Lines(rest) {
			if f := strings.Fields(line); len(f) > 1 {
				counters[f[0]] = f[1]
			}
		}
		n := json.Number(counters["messages"])
		if got, err := n.Int64(); err != nil || got != rep.Total {
			t.Errorf("%s: server counted %q messages, generator %d", backend, n, rep.Total)
		}
		for _, name := range []string{"connections", "bytes", "turns", "enters", "allocations"} {
			if counters[name] == "" || counters[name] == "0" {
				t.Errorf("%s: no %s in\n%s", backend, name, rest)
			}
		}
	}
}

func TestRunInterrupted(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	first := make(chan struct{})
	go func() { // an echo of bytes is one of messages
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 4096)
		for k := 0; ; k++ {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
			if k == 0 {
				close(first)
			}
		}
	}()
	gen := start(t, "run", "-verdict=false", "-target", ln.Addr().String(), "-conns", "1", "-duration", "1h", "-warmup", "0")
	select {
	case <-first:
	case <-time.After(20 * time.Second):
		t.Fatal("no message from the generator")
	}
	out, status := gen.end(t, syscall.SIGINT)
	if status != 130 || gen.stderr.String() != "kcmbench run: interrupted\n" {
		t.Errorf("status %d: %s", status, &gen.stderr)
	}
	if !strings.Contains(out, "errors      0 ") || strings.Contains(out, "messages    0 ") {
		t.Errorf("report:\n%s", out)
	}
}
