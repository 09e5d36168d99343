//go:build linux && (amd64 || arm64)

package uapi

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestMmapAnon(t *testing.T) {
	page := os.Getpagesize()
	b, err := MmapAnon(page + 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != 2*page || Addr(&b[0])%uint64(page) != 0 {
		t.Errorf("%d bytes at %#x", len(b), Addr(&b[0]))
	}
	for i, c := range b {
		if c != 0 {
			t.Fatalf("byte %d is %d", i, c)
		}
	}
	b[len(b)-1] = 1
	if err := AdviseDontFork(b); err != nil {
		t.Error(err)
	}
	if err := AdviseHuge(b); err != nil && !errors.Is(err, syscall.EINVAL) {
		t.Error(err)
	}
	if err := Munmap(b[:page]); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Munmap of a part: %v, want EINVAL", err)
	}
	if err := Munmap(b); err != nil {
		t.Error(err)
	}
	if err := Munmap(b); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("second Munmap: %v, want EINVAL", err)
	}
	for _, n := range []int{0, -1, int(^uint(0) >> 1)} {
		if _, err := MmapAnon(n); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("MmapAnon(%d): %v, want EINVAL", n, err)
		}
	}
	if _, err := MmapAnon(1 << 60); !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("MmapAnon(1<<60): %v, want ENOMEM", err)
	}
}

func TestSliceBounds(t *testing.T) {
	mem := onePage(t)
	page := len(mem)
	if s := Slice[SQE](mem, 0, page/64); len(s) != page/64 || Addr(&s[1]) != Addr(&mem[64]) {
		t.Errorf("%d entries, the second at %#x", len(s), Addr(&s[1]))
	}
	*At[uint32](mem, page-4) = 0x01020304
	if mem[page-4] != 4 {
		t.Error("At is not where it should be")
	}
	for _, c := range []struct {
		name string
		want string
		f    func()
	}{
		{"past the end", "do not fit", func() { Slice[SQE](mem, 0, page/64+1) }},
		{"across the end", "do not fit", func() { At[uint32](mem, page-3) }},
		{"at the end", "do not fit", func() { At[byte](mem, page) }},
		{"none", "do not fit", func() { Slice[byte](mem, 0, 0) }},
		{"negative", "do not fit", func() { At[byte](mem, -1) }},
		{"overflow", "do not fit", func() { Slice[uint64](mem, 0, int(^uint(0)>>1)) }},
		{"misaligned", "aligned", func() { At[uint32](mem, 2) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if s, _ := recover().(string); !strings.Contains(s, c.want) {
					t.Errorf("panic %q, want %q", s, c.want)
				}
			}()
			c.f()
		})
	}
}
