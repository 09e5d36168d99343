package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// patience is when a test that waits gives up.
const patience = 20 * time.Second

// TestRun does what the command does: every number comes back with its factors, and the
// workers' figures add up.
func TestRun(t *testing.T) {
	var out strings.Builder // run ends after whoever writes
	const jobs, workers = 15, 3
	if err := run(t.Context(), config{workers: workers, jobs: jobs}, &out); err != nil {
		t.Fatal(err)
	}
	connections, sum := 0, 0
	seen := map[uint64]bool{}
	for line := range strings.Lines(out.String()) {
		var worker, n int
		var number uint64
		if strings.HasPrefix(line, "one connection: ") {
			connections++
		} else if k, _ := fmt.Sscanf(line, "worker %d did %d jobs", &worker, &n); k == 2 {
			sum += n
		} else if k, _ := fmt.Sscanf(line, "worker %d: %d = ", &worker, &number); k == 2 {
			_, factors, _ := strings.Cut(strings.TrimSpace(line), " = ")
			product := uint64(1)
			for f := range strings.SplitSeq(factors, " x ") {
				var p uint64
				fmt.Sscan(f, &p)
				product *= p
			}
			if product != number || worker >= workers {
				t.Errorf("%q", line)
			}
			seen[number] = true
		} else {
			t.Errorf("%q was printed", line)
		}
	}
	if connections != 1 || sum != jobs || len(seen) != jobs {
		t.Errorf("%d connections, %d jobs done, %d results; want 1, %d, %d", connections, sum, len(seen), jobs, jobs)
	}
}

// TestResultsStayWhole has workers answer at the same time with results from one byte to
// several times what the kernel takes at once. No job is done before every worker has one,
// so each has a part in it.
func TestResultsStayWhole(t *testing.T) {
	const workers, jobs = 4, 100
	var all sync.WaitGroup
	all.Add(workers)
	var first [workers]sync.Once
	size := func(k uint32) int { return 5 + int(k*k)*60 }
	do := func(worker int, job []byte) []byte {
		first[worker].Do(func() {
			all.Done()
			all.Wait()
		})
		k := binary.BigEndian.Uint32(job)
		result := bytes.Repeat([]byte{byte(k)}, size(k))
		copy(result, job)
		result[4] = byte(worker)
		return result
	}
	f := start(t, workers, do)
	list := make([][]byte, jobs)
	for i := range list {
		list[i] = binary.BigEndian.AppendUint32(nil, uint32(i))
	}
	seen := map[uint32]bool{}
	var by [workers]int
	if err := deal(f.peer, list, func(result []byte) {
		k := binary.BigEndian.Uint32(result)
		if seen[k] || len(result) != size(k) {
			t.Errorf("job %d: a result of %d bytes, the first one: %v", k, len(result), !seen[k])
		}
		if rest := result[5:]; bytes.Count(rest, []byte{byte(k)}) != len(rest) {
			t.Errorf("job %d: the result has bytes of others", k)
		}
		seen[k] = true
		by[result[4]]++
	}); err != nil {
		t.Fatal(err)
	}
	f.peer.Close()
	done, err := f.wait(t)
	if err != nil || len(seen) != jobs || fmt.Sprint(done) != fmt.Sprint(by[:]) {
		t.Errorf("%d results, by worker %v, who did %v: %v", len(seen), by, done, err)
	}
	for i, n := range by {
		if n == 0 {
			t.Errorf("worker %d had no part in it", i)
		}
	}
}

// TestBusyWorkerDelaysNobody has one worker at a job that does not end until all others
// have their results: those that came behind it on the same connection too.
func TestBusyWorkerDelaysNobody(t *testing.T) {
	release := make(chan struct{})
	f := start(t, 2, func(_ int, job []byte) []byte {
		if string(job) == "slow" {
			<-release
		}
		return job
	})
	jobs := [][]byte{[]byte("slow")}
	for i := range 50 {
		jobs = append(jobs, fmt.Append(nil, i))
	}
	var order []string
	if err := deal(f.peer, jobs, func(result []byte) {
		order = append(order, string(result))
		if len(order) == len(jobs)-1 {
			close(release)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if last := order[len(order)-1]; last != "slow" {
		t.Errorf("%q was last, want the slow one: %q", last, order)
	}
	f.peer.Close()
	if done, err := f.wait(t); err != nil || done[0]+done[1] != len(jobs) || min(done[0], done[1]) != 1 {
		t.Errorf("the workers did %v: %v; want one of them one job", done, err)
	}
}

// TestStopFinishesWhatWasBegun ends the workers as a signal would, each inside a job: those
// results arrive, and no other.
func TestStopFinishesWhatWasBegun(t *testing.T) {
	const workers = 3
	begun, release := make(chan struct{}, 10), make(chan struct{})
	f := start(t, workers, func(_ int, job []byte) []byte {
		begun <- struct{}{}
		<-release
		return job
	})
	for i := range 10 {
		if _, err := f.peer.Write([]byte{0, 0, 0, 1, byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for range workers {
		<-begun
	}
	f.stop()
	close(release)
	got := make([]byte, 5*workers)
	if _, err := io.ReadFull(f.peer, got); err != nil {
		t.Fatal(err)
	}
	seen := map[byte]bool{}
	for i := 4; i < len(got); i += 5 {
		seen[got[i]] = true
	}
	if len(seen) != workers || !seen[0] || !seen[1] || !seen[2] {
		t.Errorf("results %x, want those of the first %d jobs", got, workers)
	}
	if n, err := f.peer.Read(got); n > 0 || err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("then %x, %v; want the end", got[:n], err)
	}
	if done, err := f.wait(t); err != nil || fmt.Sprint(done) != "[1 1 1]" {
		t.Errorf("the workers did %v: %v", done, err)
	}
}

// TestPeerGone checks that the workers do not stay behind a peer that is gone, and say that
// it has not got its result.
func TestPeerGone(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	f := start(t, 1, func(_ int, job []byte) []byte {
		close(begun)
		<-release
		return job
	})
	if _, err := f.peer.Write([]byte("\x00\x00\x00\x03job")); err != nil {
		t.Fatal(err)
	}
	<-begun
	if err := f.peer.SetLinger(0); err != nil { // a reset
		t.Fatal(err)
	}
	f.peer.Close()
	close(release)
	if _, err := f.wait(t); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want ECONNRESET", err)
	}
}

// TestCannotStart checks that what keeps the workers from starting is said.
func TestCannotStart(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // nobody listens there
	for name, c := range map[string]struct {
		config
		want error
	}{
		"nobody there": {config{connect: ln.Addr().String(), workers: 1}, syscall.ECONNREFUSED},
		"no workers":   {config{}, syscall.EINVAL},
	} {
		if err := run(t.Context(), c.config, io.Discard); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// farm is work in a goroutine, with the test at the other end of its connection.
type farm struct {
	peer  *net.TCPConn
	stop  context.CancelFunc
	ended chan struct{}
	done  []int
	err   error
}

func start(t *testing.T, workers int, do func(worker int, job []byte) []byte) *farm {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithCancel(t.Context())
	f := &farm{stop: cancel, ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		f.done, f.err = work(ctx, ln.Addr().String(), workers, do)
	}()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	f.peer = c.(*net.TCPConn)
	t.Cleanup(func() { f.peer.Close() })
	if err := f.peer.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return f
}

// wait returns what work returned.
func (f *farm) wait(t *testing.T) ([]int, error) {
	t.Helper()
	select {
	case <-f.ended:
	case <-time.After(patience):
		t.Fatal("the workers did not end")
	}
	return f.done, f.err
}
