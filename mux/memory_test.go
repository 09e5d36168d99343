package mux

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/strparser"
)

// All loops share what the control group allows, and each has room for the largest message.
func TestLoopsShareTheMemoryLimit(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name                   string
		message, loops         int
		limit                  int64
		ring                   ring.Options
		buffers, region, spill int
	}{
		{"no limit", 0, 4, 0, ring.Options{}, 0, 9 * mib, 0},
		{"enough for one", 0, 1, 256 * mib, ring.Options{}, 0, 9 * mib, 0},
		{"for four", 0, 4, 256 * mib, ring.Options{}, 256, 4*mib + mib/2, 16 * mib},
		{"large messages", 16 * mib, 2, 256 * mib, ring.Options{}, 512, 16 * mib, 32 * mib},
		{"no region", 0, 2, 64 * mib, ring.Options{RegionBytes: -1, Buffers: 128}, 128, -1, 8 * mib},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			o := Options{Format: strparser.Length32, MaxMessage: c.message, Ring: c.ring, Logger: slog.New(slog.NewTextHandler(&log, nil))}
			if err := o.fill(); err != nil {
				t.Fatal(err)
			}
			if err := o.fitMemory(c.loops, c.limit); err != nil {
				t.Fatal(err)
			}
			if r := o.Ring; r.Buffers != c.buffers || r.RegionBytes != c.region || r.SpillBytes != c.spill {
				t.Errorf("Buffers %d, RegionBytes %d, SpillBytes %d, want %d, %d, %d", r.Buffers, r.RegionBytes, r.SpillBytes, c.buffers, c.region, c.spill)
			}
			if told := strings.Contains(log.String(), "memory.max"); told != (c.buffers != 0) {
				t.Errorf("logged %q", log.String())
			}
			// The loops are what was asked for, and a message fits.
			o.Ring.Backend = ring.Epoll
			l, err := ring.New(o.Ring)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := o.fits(l); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLoopsAreMoreThanTheMemoryLimit(t *testing.T) {
	for want, o := range map[string]Options{
		"loops 8 x (Buffers 512 ": {Ring: ring.Options{Buffers: 512}},
		"ask for 1115684864: loops 8 x (Buffers 4096 x BufferSize 32768 + RegionBytes 1048576 + SpillBytes 4194304)": {Ring: ring.Options{Buffers: 4096}}, // as in docs/systems.md
		"RegionBytes 134217728 + ": {MaxMessage: 128 << 20, Ring: ring.Options{SendHard: 256 << 20}},
	} {
		o.Format = strparser.Length32
		if err := o.fill(); err != nil {
			t.Fatal(err)
		}
		err := o.fitMemory(8, 128<<20)
		if !errors.Is(err, syscall.ENOMEM) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "memory.max") {
			t.Errorf("%v, want ENOMEM and %q", err, want)
		}
	}
}
