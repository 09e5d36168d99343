//go:build linux

package uring

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A kernel that is new enough must have the feature: then a "no" or "unknown" is
// an error of the trial, not of the kernel.
func TestProbe(t *testing.T) {
	mustHave(t)
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		t.Fatal(err)
	}
	running := version(t, unix.ByteSliceToString(uts.Release[:]))
	begin := time.Now()
	list := Probe()
	took := time.Since(begin)
	if len(list) != len(trials) {
		t.Fatalf("%d features, want %d", len(list), len(trials))
	}
	for _, f := range list {
		t.Log(f)
		if running >= version(t, f.Since) && f.State != Yes {
			t.Errorf("%s: %s (%s) on a kernel that has it", f.Name, f.State, f.Why)
		}
		if f.Need && f.State != Yes {
			t.Errorf("%s is needed and New succeeded without it", f.Name)
		}
	}
	t.Logf("took %v", took)
	if took > 2*time.Second {
		t.Errorf("Probe took %v", took)
	}
}

// version makes a comparable number of "6.18" or "6.18.44-generic".
func version(t *testing.T, s string) int {
	t.Helper()
	var major, minor int
	if _, err := fmt.Sscanf(s, "%d.%d", &major, &minor); err != nil {
		t.Fatalf("version %q: %v", s, err)
	}
	return major<<16 | minor
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		err  error
		want State
	}{
		{nil, Yes},
		{errNo, No},
		{syscall.EINVAL, No},
		{syscall.ENOSYS, No},
		{fmt.Errorf("try: %w", syscall.EOPNOTSUPP), No},
		{syscall.EPERM, Unknown},
		{syscall.ENOMEM, Unknown},
		{syscall.EMFILE, Unknown},
		{errors.New("other"), Unknown},
	} {
		got, why := verdict(c.err)
		if got != c.want || (why == "") != (c.err == nil) {
			t.Errorf("%v: %v, %q, want %v", c.err, got, why, c.want)
		}
	}
}

// What the kernel lacks must be found lacking: a set-up flag and an operation that
// no kernel has.
func TestProbeSaysNo(t *testing.T) {
	mustHave(t)
	var p prober
	if err := p.open(); err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for name, try := range map[string]func(*prober) error{
		"set-up flag": setup(1 << 31),
		"feature":     reported(1 << 31),
		"operation":   operation(255),
		"recv flag":   func(p *prober) error { return p.multishotRecv(1<<15, 0) },
		"ring flag":   func(p *prober) error { return p.bufRing(1 << 15) },
	} {
		if s, why := verdict(try(&p)); s != No {
			t.Errorf("%s: %v (%s), want no", name, s, why)
		}
	}
}
