//go:build linux

package uring

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/uapi"
	"github.com/kcm-go/kcm/ring/internal/backend"
)

// A seccomp filter as container runtimes have it, on the set-up or only on what
// comes after it.
func TestRefusedBySeccomp(t *testing.T) {
	if nr, set := os.LookupEnv(childEnv); set {
		refusedBySeccomp(t, nr)
		return
	}
	mustHave(t)
	for _, nr := range []int{uapi.SyscallSetup, uapi.SyscallEnter, uapi.SyscallRegister} {
		t.Run(strconv.Itoa(nr), func(t *testing.T) { child(t, "TestRefusedBySeccomp", strconv.Itoa(nr)) })
	}
}

func refusedBySeccomp(t *testing.T, env string) {
	nr, err := strconv.Atoi(env)
	if err != nil {
		t.Fatal(err)
	}
	pool := newPool(t, 1, 512)
	forbid(t, uint32(nr), syscall.EPERM)
	b, err := New(backend.Config{Pool: pool}, AllSwitches)
	if err == nil {
		b.Close()
		t.Fatal("New succeeded")
	}
	var refused *RefusedError
	if !errors.As(err, &refused) || !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, syscall.EPERM) {
		t.Errorf("New: %v", err)
	}
	why := Explain(err)
	t.Log(why)
	if !strings.Contains(why, "seccomp filter") || !strings.Contains(why, "io_uring_register") {
		t.Errorf("Explain: %q", why)
	}
	list := Probe()
	if nr == uapi.SyscallRegister {
		return // a ring without register has some of the features
	}
	if f := list[0]; f.State != Unknown || !strings.Contains(f.Why, "seccomp") {
		t.Errorf("Probe: %v", f)
	}
	for _, f := range list[1:] {
		if f.State != Unknown || f.Why == "" {
			t.Errorf("Probe: %v", f)
		}
	}
}

// forbid lets the system call nr fail with errno in this whole process, for ever.
func forbid(t *testing.T, nr uint32, errno syscall.Errno) {
	t.Helper()
	const setModeFilter, tsync = 1, 1 // SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // struct seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, errno := syscall.Syscall(unix.SYS_SECCOMP, setModeFilter, tsync, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		t.Skip("no seccomp filters here: ", errno)
	}
}

func TestRefusedForDescriptors(t *testing.T) {
	if _, set := os.LookupEnv(childEnv); !set {
		mustHave(t)
		child(t, t.Name(), "1")
		return
	}
	pool := newPool(t, 1, 512)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 3}); err != nil {
		t.Fatal(err)
	}
	_, err := New(backend.Config{Pool: pool}, AllSwitches)
	if !errors.Is(err, syscall.EMFILE) || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("New: %v, want EMFILE", err)
	}
}
