//go:build linux

package uring

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

var readKey = backend.MakeKey(backend.OpRead, 1, 1)

// A peer that drips bytes into a large Read costs completions, not a kernel thread.
func TestReadOfManyPieces(t *testing.T) {
	mustHave(t)
	b := start(t, 1, 512)
	fd, peer := pair(t)
	events := make([]backend.Event, 4)
	mem := memory(t, 4096)
	var want []byte
	got := 0
	b.Read(readKey, fd, mem)
	for i := range 400 { // the kernel polls 128 times for one operation
		p := []byte{byte(i), byte(i >> 8)}
		want = append(want, p...)
		if _, err := unix.Write(peer, p); err != nil {
			t.Fatal(err)
		}
		for deadline := b.Now() + 10*time.Second; got < len(want) && b.Now() < deadline; {
			n, err := b.Wait(events, 10*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events[:n] {
				if e.Key != readKey || e.More || e.Res <= 0 {
					t.Fatalf("event %+v", e)
				}
				got += int(e.Res)
				b.Read(readKey, fd, mem[got:])
			}
		}
	}
	if !bytes.Equal(mem[:got], want) {
		t.Errorf("%d bytes, want %d, or they differ", got, len(want))
	}
	if names := workers(t); len(names) > 0 {
		t.Errorf("the kernel has made worker threads: %v", names)
	}
}

// workers returns the names of this process's io_uring worker threads.
func workers(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(name), "iou-wrk") {
			names = append(names, strings.TrimSpace(string(name)))
		}
	}
	return names
}

func TestFixedFind(t *testing.T) {
	f := fixed{base: 4096, size: 2*fixedPiece + 100}
	for _, c := range []struct {
		addr, n uint64
		index   uint16
		ok      bool
	}{
		{4096, 1, 0, true},
		{4096, fixedPiece, 0, true},
		{4096, fixedPiece + 1, 0, false}, // in two pieces
		{4096 + fixedPiece - 1, 1, 0, true},
		{4096 + fixedPiece - 1, 2, 0, false},
		{4096 + fixedPiece, 2, 1, true},
		{4096 + 2*fixedPiece, 100, 2, true},
		{4096 + 2*fixedPiece, 101, 2, false}, // beyond the end
		{4095, 1, 0, false},
		{4096, 0, 0, false},
		{0, 4097, 0, false},
	} {
		if index, ok := f.find(c.addr, c.n); ok != c.ok || ok && index != c.index {
			t.Errorf("find(%#x, %#x) = %d, %v, want %d, %v", c.addr, c.n, index, ok, c.index, c.ok)
		}
	}
	if _, ok := new(fixed).find(1, 1); ok {
		t.Error("nothing is registered and something was found")
	}
}

// Without the right to lock memory the backend works and says what is missing.
func TestNoteOnMemlock(t *testing.T) {
	mustHave(t)
	if _, set := os.LookupEnv(childEnv); !set {
		child(t, t.Name(), "1") // the limit and the lost right are for a process of its own
		return
	}
	const limit = 512 << 10 // enough for the rings, which count as well
	runtime.LockOSThread()
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := syscall.Setuid(65534); err != nil { // gives CAP_IPC_LOCK up
			t.Fatal(err)
		}
	}
	b, err := New(backend.Config{Pool: newPool(t, 1, 512), Mapping: memory(t, 2*limit)}, AllSwitches)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	notes := strings.Join(b.Notes(), "; ")
	if !strings.Contains(notes, "RLIMIT_MEMLOCK is 512 KiB") {
		t.Errorf("notes: %q", notes)
	}
	fd, peer := pair(t)
	b.Attach(fd)
	b.Read(readKey, fd, memory(t, 16))
	if _, err := unix.Write(peer, []byte("abc")); err != nil {
		t.Fatal(err)
	}
	events := make([]backend.Event, 1)
	if n, err := b.Wait(events, 5*time.Second); n != 1 || err != nil || events[0].Res != 3 {
		t.Errorf("Wait = %d, %v, %+v", n, err, events[0])
	}
}
