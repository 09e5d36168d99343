//go:build linux

package mux

import (
	"encoding/binary"
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/strparser"
)

// lives is a Mux on one loop of a simulated network, for tests of how connections begin
// and end: it notes when they do, in virtual time.
type lives struct {
	*story
	ended map[*Psock]ending
}

// ending is what OnClose was told, and when.
type ending struct {
	err error
	at  time.Duration
}

// theLives runs tell for some seeds of a network without faults, with a Mux of the options.
func theLives(t *testing.T, o Options, tell func(w *lives)) {
	t.Helper()
	theLivesOn(t, func(*ring.Options) {}, o, tell)
}

// theLivesOn is theLives with other options of the loop.
func theLivesOn(t *testing.T, set func(*ring.Options), o Options, tell func(w *lives)) {
	t.Helper()
	ringtest.Seeds(t, 20, ringtest.Options{}, func(t *testing.T, s *ringtest.Sim) {
		ro := simRing()
		ro.Linger = time.Millisecond
		set(&ro)
		l, err := ring.NewWith(s.Open, ro)
		if err != nil {
			t.Fatal(err)
		}
		w := &lives{story: &story{t: t, s: s, l: l}, ended: map[*Psock]ending{}}
		o := o
		o.Format, o.MaxMessage, o.On = strparser.Length32, 32<<10, []*ring.Loop{l}
		o.OnClose = func(p *Psock, err error) {
			if _, ok := w.ended[p]; ok {
				t.Errorf("connection %d ends twice", p.Index())
			}
			w.ended[p] = ending{err, l.Now()}
		}
		if w.m, err = New(o); err != nil {
			t.Fatal(err)
		}
		tell(w)
		w.m.Close()
		w.until("closed", func() bool { return w.m.Psocks() == 0 })
		if st := l.Stats(); st.RegionUsed+st.SpillUsed != 0 || st.BuffersFree != st.Buffers {
			t.Errorf("at the end %d of %d buffers are free, %d + %d bytes in use", st.BuffersFree, st.Buffers, st.RegionUsed, st.SpillUsed)
		}
		l.Close()
	})
}

// pair adds a connection and returns both ends.
func (w *lives) pair() (*Psock, *ringtest.Peer) {
	w.t.Helper()
	fd, peer := w.s.Pair()
	p, err := w.m.adopt(w.m.shards[0], fd, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return p, peer
}

// pass lets virtual time pass.
func (w *lives) pass(d time.Duration) {
	w.t.Helper()
	over := false
	w.s.After(d, func() { over = true })
	w.until("time has passed", func() bool { return over })
}

// ends waits for the end of a connection.
func (w *lives) ends(p *Psock) ending {
	w.t.Helper()
	w.until("the connection has ended", func() bool { _, ok := w.ended[p]; return ok })
	return w.ended[p]
}

// endsAt checks that a connection ends with ETIMEDOUT between from and to.
func (w *lives) endsAt(p *Psock, from, to time.Duration) {
	w.t.Helper()
	e := w.ends(p)
	if !errors.Is(e.err, syscall.ETIMEDOUT) {
		w.t.Errorf("the connection ended with %v, want ETIMEDOUT", e.err)
	}
	if e.at < from || e.at > to {
		w.t.Errorf("the connection ended at %v, want %v to %v", e.at, from, to)
	}
}

// write sends what is a whole number of messages, or not.
func (w *lives) write(peer *ringtest.Peer, b []byte) {
	w.t.Helper()
	if n, err := peer.Write(b); err != nil {
		w.t.Fatalf("%d of %d bytes written: %v", n, len(b), err)
	}
}

// reads waits until the peer has got what is wanted.
func (w *lives) reads(peer *ringtest.Peer, want string) {
	w.t.Helper()
	got := ""
	w.until("the peer has got "+want, func() bool {
		var b [256]byte
		n, err := peer.Read(b[:])
		if err != nil && err != io.EOF && !errors.Is(err, syscall.EAGAIN) {
			w.t.Fatal(err)
		}
		got += string(b[:n])
		return len(got) >= len(want)
	})
	if got != want {
		w.t.Fatalf("the peer got %q, want %q", got, want)
	}
}

// frames returns messages with the given payloads.
func frames(payloads ...string) []byte {
	var b []byte
	for _, p := range payloads {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}
