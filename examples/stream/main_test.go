package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/kcm-go/kcm/internal/leak"
	"github.com/kcm-go/kcm/mux"
)

func TestMain(m *testing.M) { leak.Main(m) }

// patience is when a test that waits gives up.
const patience = 20 * time.Second

// within is a context that ends then.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// TestRun does what the command does, with messages 40 times as large as the limits.
func TestRun(t *testing.T) {
	c := config{size: 2_621_440, messages: 4, limit: 64 << 10, part: 16 << 10, buffer: 4 << 10}
	var out strings.Builder
	if err := run(within(t), c, &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != c.messages+1 {
		t.Fatalf("%q was printed", lines)
	}
	for i := range c.messages {
		h := sha256.New()
		if _, err := io.CopyN(h, rand.NewChaCha8([32]byte{byte(i)}), int64(c.size)); err != nil {
			t.Fatal(err)
		}
		sum := fmt.Sprintf("SHA-256 %x...", h.Sum(nil)[:8])
		if !strings.HasPrefix(lines[i], fmt.Sprintf("message %d: %d bytes, ", i, c.size)) || !strings.Contains(lines[i], sum) {
			t.Errorf("%q, want %s", lines[i], sum)
		}
	}
}

// TestMemory compares what the library held with what the package comment says: the
// sender's has one message and less than SendBytes of others, the receiver's at least one
// and no more than its large region, which is less than three here.
func TestMemory(t *testing.T) {
	c := config{size: 8<<20 - aroundBytes, messages: 4, limit: 64 << 10, part: 16 << 10, buffer: 3000}
	n := 0
	f, err := transfer(within(t), c, random, func(m message) {
		n++
		if m.size != c.size || m.sent != 3+(c.size+c.part-1)/c.part || m.got < 2+c.size/c.buffer {
			t.Errorf("a message of %d bytes in %d parts, received in %d", m.size, m.sent, m.got)
		}
	})
	if err != nil || n != c.messages {
		t.Fatalf("%d messages arrived: %v", n, err)
	}
	if most := c.size + c.limit + 64<<10; f.sender < c.size || f.sender > most { // the last is what blocks round up to
		t.Errorf("the sender's library held %d bytes, want %d to %d", f.sender, c.size, most)
	}
	if f.receiver < c.size || f.receiver >= 3*c.size {
		t.Errorf("the receiver's library held %d bytes, want %d to %d", f.receiver, c.size, 3*c.size)
	}
}

// TestSizes transfers contents of all sizes around those of the parts, and nothing.
func TestSizes(t *testing.T) {
	for _, size := range []int{0, 1, 999, 1000, 1001, 5000} {
		for _, buffer := range []int{1, 1000, 1 << 20} {
			c := config{size: size, messages: 3, limit: 500, part: 1000, buffer: buffer}
			n := 0
			_, err := transfer(within(t), c, random, func(m message) {
				want := sha256.New()
				_, _ = io.CopyN(want, random(n), int64(size)) // neither fails
				if m.size != size || !bytes.Equal(m.sum, want.Sum(nil)) {
					t.Errorf("size %d, buffer %d: message %d has %d bytes and the hash %x", size, buffer, n, m.size, m.sum)
				}
				n++
			})
			if err != nil || n != c.messages {
				t.Errorf("size %d, buffer %d: %d messages, %v", size, buffer, n, err)
			}
		}
	}
}

// TestContentFails has the content of the second message fail in the middle, or end too
// early: the first arrives, and nothing of the second when its socket is closed.
func TestContentFails(t *testing.T) {
	broken := errors.New("broken")
	for want, rest := range map[error]io.Reader{
		broken:              iotest.ErrReader(broken),
		io.ErrUnexpectedEOF: strings.NewReader(""),
	} {
		c := config{size: 100_000, messages: 3, limit: 1000, part: 1000, buffer: 1000}
		n := 0
		_, err := transfer(within(t), c, func(i int) io.Reader {
			if i == 1 {
				return io.MultiReader(io.LimitReader(random(i), 50_000), rest)
			}
			return random(i)
		}, func(message) { n++ })
		if !errors.Is(err, want) || n > 1 { // the receiver may be told before it has the first
			t.Errorf("%d messages arrived, %v; want 1 and %v", n, err, want)
		}
	}

	m, err := newMux(config{size: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if _, err := m.Dial(t.Context(), "tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if err := peer.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	w := writer(t, m)
	if err := send(w, random(0), 300, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if err := send(w, iotest.TimeoutReader(random(1)), 300, make([]byte, 100)); !errors.Is(err, iotest.ErrTimeout) {
		t.Fatalf("%v, want what the content has", err)
	}
	if err := w.s.CloseWithDrain(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := send(writer(t, m), random(2), 300, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 2} {
		content := make([]byte, 300)
		_, _ = io.ReadFull(random(i), content) // never fails
		sum := sha256.Sum256(content)
		want := append(append([]byte{0, 0, 1, 0x4c}, content...), sum[:]...)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("the peer got something else than message %d: %v", i, err)
		}
	}
}

// TestWrongHash receives messages whose hash is of something else, or missing.
func TestWrongHash(t *testing.T) {
	m, err := newMux(config{size: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go m.Serve(ln)
	s, err := m.OpenSocket(mux.SocketOptions{Type: mux.Seqpacket})
	if err != nil {
		t.Fatal(err)
	}
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	sum := sha256.Sum256([]byte("text"))
	for _, c := range []struct {
		message string
		want    error
	}{
		{"\x00\x00\x00\x24text" + string(sum[:]), nil},
		{"\x00\x00\x00\x24test" + string(sum[:]), syscall.EBADMSG},
		{"\x00\x00\x00\x04text", syscall.EBADMSG},
	} {
		if _, err := io.WriteString(peer, c.message); err != nil {
			t.Fatal(err)
		}
		r := &messageReader{ctx: within(t), s: s, after: func() {}}
		size, _, err := receive(r, make([]byte, 3))
		if !errors.Is(err, c.want) || err == nil && size != 4 {
			t.Errorf("%q: %d bytes, %v; want %v", c.message, size, err, c.want)
		}
		if _, err := io.Copy(io.Discard, r); err != nil { // the rest of the message
			t.Fatal(err)
		}
	}
}

// TestRefused checks what is said of sizes that cannot be.
func TestRefused(t *testing.T) {
	for name, c := range map[string]config{
		"more than a connection may send": {size: 40 << 20, messages: 1, part: 1, buffer: 1},
		"negative":                        {size: -1, part: 1, buffer: 1},
		"no part":                         {size: 1, buffer: 1},
		"no buffer":                       {size: 1, part: 1},
		"negative limit":                  {size: 1, part: 1, buffer: 1, limit: -1},
	} {
		if err := run(t.Context(), c, io.Discard); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v, want EINVAL", name, err)
		}
	}
}

func random(i int) io.Reader { return rand.NewChaCha8([32]byte{byte(i)}) }

// writer returns one for a new socket.
func writer(t *testing.T, m *mux.Mux) *messageWriter {
	t.Helper()
	s, err := m.OpenSocket(mux.SocketOptions{Type: mux.Seqpacket})
	if err != nil {
		t.Fatal(err)
	}
	return &messageWriter{ctx: t.Context(), s: s, after: func() {}}
}
