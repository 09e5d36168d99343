package muxengine

import (
	"os"
	"testing"

	"github.com/kcm-go/kcm/internal/conformance"
	"github.com/kcm-go/kcm/ring"
)

// TestScripts replays every script on each back end of this machine.
func TestScripts(t *testing.T) {
	cases, err := conformance.Load(os.DirFS("../testdata"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []ring.Backend{ring.Epoll, ring.URing} {
		if b == ring.URing {
			l, err := ring.New(ring.Options{Backend: b})
			if err != nil {
				t.Logf("no io_uring: %v", err)
				continue
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range cases {
			t.Run(b.String()+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				e, err := New(b)
				if err != nil {
					t.Fatal(err)
				}
				got := conformance.Play(e, c.Script, nil)
				if err := e.Close(); err != nil {
					t.Error(err)
				}
				for _, d := range conformance.Compare(c.Script, Name, got) {
					t.Error(d)
				}
			})
		}
	}
}
