//go:build linux

package ring

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

func TestFeaturesOption(t *testing.T) {
	_, err := New(Options{Features: "no-such=off"})
	if !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), `Features: feature "no-such"`) {
		t.Errorf("%v, want EINVAL naming option and feature", err)
	}
}

// What a stream gets in a turn, however much its peer has sent, is little more than its
// credit, where the kernel can end a receive by itself; else it is some 32 buffers.
func TestRecvLimit(t *testing.T) {
	have := false
	for _, f := range Probe() {
		have = have || f.Name == "recv limit" && f.State == "yes"
	}
	if !have {
		t.Skip("the kernel has no limit of receives")
	}
	o := small()
	o.Backend, o.Buffers = URing, 128
	for features, within := range map[string]bool{"": true, "recv-limit=off": false} {
		o.Features = features
		l := start(t, o)
		sent := random(1, 100<<10)
		fd, peer := socketpair(t)
		if _, err := peer.Write(sent); err != nil {
			t.Fatal(err)
		}
		most := 0
		r := &rec{t: t}
		r.onReady = func(s *Stream) {
			most = max(most, s.Readable())
			r.take(s)
		}
		do(t, l, func() {
			if _, err := l.Attach(fd, r); err != nil {
				t.Error(err)
			}
		})
		waitOn(t, l, "all has come", func() bool { return len(r.got) == len(sent) })
		do(t, l, func() {
			same(t, "received", r.got, sent)
			if limit := 2*o.Credit + o.BufferSize; (most <= limit) != within {
				t.Errorf("%q: a stream with a credit of %d had %d bytes at once", features, o.Credit, most)
			}
		})
		peer.Close()
	}
}
