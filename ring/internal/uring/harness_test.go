//go:build linux

package uring

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/internal/uapi"
	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// mustHave skips the test where io_uring is refused, with the reason.
func mustHave(t testing.TB) {
	t.Helper()
	b, err := New(backend.Config{Pool: newPool(t, 1, 512)}, AllSwitches)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(Explain(err))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// newPool returns a pool whose buffers are only provided by the test.
func newPool(t testing.TB, blocks, size int) *sgmsg.Arena {
	t.Helper()
	pool, err := sgmsg.NewPoolArena(memory(t, blocks*size), size, func(sgmsg.BufID) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close(nil) })
	return pool
}

// memory is mapped, and Go memory under the race detector.
func memory(t testing.TB, n int) []byte {
	t.Helper()
	if invariants.Race {
		return make([]byte, n)
	}
	mem, err := uapi.MmapAnon(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { uapi.Munmap(mem) })
	return mem[:n]
}

// start returns a started backend with all buffers of its pool provided. It locks
// the test to its thread until the backend is closed, when the test has ended.
func start(t testing.TB, blocks, size int) *ring {
	t.Helper()
	pool := newPool(t, blocks, size)
	back, err := New(backend.Config{Pool: pool}, AllSwitches)
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	if err := back.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer runtime.UnlockOSThread()
		if err := back.Close(); err != nil {
			t.Error(err)
		}
	})
	ids := make([]sgmsg.BufID, blocks)
	for i := range ids {
		ids[i] = pool.ID(i)
	}
	back.Provide(ids)
	return back.(*ring)
}

// pair returns a connected stream, both ends blocking.
func pair(t testing.TB) (fd, peer int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(p[0])
		unix.Close(p[1])
	})
	return p[0], p[1]
}

// childEnv is set to child's argument in a process it started.
const childEnv = "KCM_URING_TEST_CHILD"

// child runs the test function once more, in a process of its own.
func child(t *testing.T, name, arg string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+name+"$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"="+arg)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
