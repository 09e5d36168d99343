package bench

import (
	"bytes"
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"
)

// unordered is a short run on one connection without order.
func unordered(target string) Config {
	c := short(target)
	c.Conns, c.Unordered = 1, true
	return c
}

// Replies in other orders are right, and each is answered by the next message: a
// closed loop stays as deep as it was.
func TestUnorderedReplies(t *testing.T) {
	t.Parallel()
	// evenLater answers every other message some time after it came, whatever follows.
	evenLater := func(c net.Conn, k int, f []byte) []byte {
		if k%2 == 0 {
			time.AfterFunc(2*time.Millisecond, func() { _, _ = c.Write(f) }) // none is left to write to when the run is over
			return nil
		}
		return f
	}
	for name, answer := range map[string]func(net.Conn, int, []byte) []byte{
		"as sent":    func(_ net.Conn, _ int, f []byte) []byte { return f },
		"even later": evenLater,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := unordered(crooked(t, answer))
			cfg.Depth = 8
			rep, err := enough(t, cfg, 20)
			if err != nil || rep.MessagesTotal < 20 || rep.Order {
				t.Errorf("%d replies, order %v: %v", rep.MessagesTotal, rep.Order, err)
			}
			// The same replies are wrong where order is asked for.
			cfg.Target, cfg.Unordered = crooked(t, answer), false
			if rep, err := Run(t.Context(), cfg); (err != nil) != (name == "even later") {
				t.Errorf("in order: %v, %+v", err, rep)
			}
		})
	}
}

// A message that is answered long after others holds the connection up when the window
// is full, and then goes on.
func TestUnorderedWindow(t *testing.T) {
	t.Parallel()
	var first []byte
	late := make(chan struct{})
	const window = 8
	addr := crooked(t, func(_ net.Conn, k int, f []byte) []byte {
		switch {
		case k == 0:
			first = f
			return nil
		case k == window-1: // the last one the window has room for
			close(late)
			return append(f, first...)
		}
		return f
	})
	c := unordered(addr)
	c.Threads, c.Depth, c.Duration = 1, 2, 300*time.Millisecond
	r := &run{Config: c}
	defer r.close()
	if err := r.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.threads[0].window = window
	if err := r.measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-late:
	default:
		t.Error("the window was not filled")
	}
	if rep := r.report(); rep.Errors != 0 || rep.MessagesTotal <= window {
		t.Errorf("%d errors, %d replies", rep.Errors, rep.MessagesTotal)
	}

	// Answered never, it ends as lost, and the connection stands still.
	c.Target = crooked(t, func(_ net.Conn, k int, f []byte) []byte {
		if k == 0 {
			return nil
		}
		return f
	})
	c.Drain = 50 * time.Millisecond
	r = &run{Config: c}
	defer r.close()
	if err := r.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.threads[0].window = window
	if err := r.measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rep := r.report(); rep.Lost != 1 || rep.Errors != 1 || rep.MessagesTotal != window-1 {
		t.Errorf("%d lost of %d errors, %d replies; want 1, 1, %d", rep.Lost, rep.Errors, rep.MessagesTotal, window-1)
	}
}

// Without order a wrong server is caught all the same.
func TestUnorderedCatchesWrongServers(t *testing.T) {
	t.Parallel()
	type counts struct{ lost, corrupt, duplicate int64 }
	at20 := func(change func(f []byte) []byte) func(net.Conn, int, []byte) []byte {
		return func(_ net.Conn, k int, f []byte) []byte {
			if k == 20 {
				return change(f)
			}
			return f
		}
	}
	var old []byte
	for name, c := range map[string]struct {
		answer func(net.Conn, int, []byte) []byte
		want   counts
		text   string
	}{
		"changes a byte": {at20(func(f []byte) []byte { f[40] ^= 4; return f }), counts{corrupt: 1}, "reply 20 has other bytes"},
		"shortens": {at20(func(f []byte) []byte {
			f = f[:len(f)-1]
			binary.BigEndian.PutUint32(f, uint32(len(f)-4))
			return f
		}), counts{corrupt: 1}, "reply 20 has 63 bytes, want 64"},
		"changes the number to none": {at20(func(f []byte) []byte { f[11] ^= 1; return f }), counts{corrupt: 1, lost: 1}, "to nothing"},
		"answers in a few bytes":     {at20(func([]byte) []byte { return []byte{0, 0, 0, 1, 'x'} }), counts{corrupt: 1, lost: 1}, "to nothing"},
		"answers twice":              {at20(func(f []byte) []byte { return bytes.Repeat(f, 2) }), counts{duplicate: 1}, "reply 20 came twice"},
		"answers twice, apart": {func(_ net.Conn, k int, f []byte) []byte {
			switch k {
			case 20:
				old = bytes.Clone(f)
			case 30:
				f = append(f, old...)
			}
			return f
		}, counts{duplicate: 1}, "reply 20 came twice"},
		"leaves one out": {at20(func([]byte) []byte { return nil }), counts{lost: 1}, "replies were still missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := unordered(crooked(t, c.answer))
			cfg.Drain = 100 * time.Millisecond
			rep, err := enough(t, cfg, 30)
			if got := (counts{rep.Lost, rep.Corrupt, rep.Duplicate}); got != c.want || rep.MessagesTotal < 20 {
				t.Errorf("counted %+v with %d right ones, want %+v", got, rep.MessagesTotal, c.want)
			}
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want one with %q", err, c.text)
			}
		})
	}
}
