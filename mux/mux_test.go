//go:build linux

package mux_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// each runs a test on every backend of this machine.
func each(t *testing.T, fn func(t *testing.T, b ring.Backend)) {
	for _, b := range []ring.Backend{ring.URing, ring.Epoll} {
		t.Run(b.String(), func(t *testing.T) { fn(t, b) })
	}
}

func echo(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
	from.Send(msg)
	return mux.Done
}

// newMux starts a Mux, and checks at the end that it gave everything back.
func newMux(t *testing.T, o mux.Options, h mux.Handler) *mux.Mux {
	t.Helper()
	if o.Format == nil {
		o.Format = strparser.Length32
	}
	m, err := mux.New(o)
	if err != nil {
		t.Fatal(err)
	}
	m.Handle(h)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if len(m.Loops()) > 1 {
			return // messages of a loop that has ended may be with the next one
		}
		for i, l := range m.Loops() {
			if st := l.Stats(); st.BuffersFree != st.Buffers {
				t.Errorf("loop %d: %d of %d receive buffers came back", i, st.BuffersFree, st.Buffers)
			}
		}
	})
	return m
}

// server is newMux, serving on a loopback port.
func server(t *testing.T, o mux.Options, h mux.Handler) (m *mux.Mux, addr string) {
	t.Helper()
	m = newMux(t, o, h)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- m.Serve(ln) }()
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-served; err != mux.ErrClosed {
			t.Errorf("Serve returned %v, want ErrClosed", err)
		}
	})
	return m, ln.Addr().String()
}

// loopback returns both ends of a TCP connection.
func loopback(t *testing.T) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client = dial(t, ln.Addr().String())
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// attach gives m one end of a new connection and returns the other.
func attach(t *testing.T, m *mux.Mux) (*mux.Psock, net.Conn) {
	t.Helper()
	c, s := loopback(t)
	return attachConn(t, m, s), c
}

func attachConn(t *testing.T, m *mux.Mux, s net.Conn) *mux.Psock {
	t.Helper()
	p, err := m.Attach(s)
	if err != nil {
		s.Close()
		t.Fatal(err)
	}
	return p
}

// small keeps the system from giving a connection a large receive buffer, so that
// fewer bytes fill it. With less than this TCP sends in fits and starts.
func small(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(*net.TCPConn).SetReadBuffer(128 << 10); err != nil {
		t.Fatal(err)
	}
}

// within returns what comes from ch, and fails the test if nothing does for long.
func within[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: nothing for 20 s", what)
		panic("unreachable")
	}
}

// until waits for a condition that is going to hold. cond should ask a loop
// something, which makes each look take a turn.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so after 20 s", what)
		}
	}
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func frame(p []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...)
}

// pipeline sends n messages of random sizes up to limit, depth in flight, and
// checks each reply.
func pipeline(c net.Conn, seed uint64, n, depth, limit int) error {
	rng := rand.New(rand.NewPCG(seed, 7))
	base := make([]byte, limit+256)
	for i := range base {
		base[i] = byte(rng.Uint32())
	}
	want := make(chan []byte, depth)
	errs := make(chan error, 1)
	go func() {
		w := bufio.NewWriter(c)
		for i := range n {
			p := base[i%256:][:rng.IntN(limit+1)]
			want <- p
			var h [4]byte
			binary.BigEndian.PutUint32(h[:], uint32(len(p)))
			w.Write(h[:])
			w.Write(p)
			if len(want) == cap(want) || rng.IntN(4) == 0 || i == n-1 {
				if err := w.Flush(); err != nil {
					errs <- err
					return
				}
			}
		}
		close(want)
	}()
	r := bufio.NewReader(c)
	got := make([]byte, limit+4)
	i := 0
	for p := range want {
		if _, err := io.ReadFull(r, got[:4+len(p)]); err != nil {
			select {
			case err = <-errs:
			default:
			}
			return err
		}
		if int(binary.BigEndian.Uint32(got)) != len(p) || !bytes.Equal(got[4:4+len(p)], p) {
			return io.ErrUnexpectedEOF
		}
		i++
	}
	return nil
}

func TestEchoOfRandomSizes(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		_, addr := server(t, mux.Options{Ring: ring.Options{Backend: b}}, echo)
		var wg sync.WaitGroup
		for i := range 8 {
			c := dial(t, addr)
			wg.Add(1)
			go func() {
				defer wg.Done()
				if err := pipeline(c, uint64(i), 200, 16, 64<<10); err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
			}()
		}
		wg.Wait()
	})
}
