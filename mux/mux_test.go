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

// server starts a Mux that serves on a loopback port, and checks at the end that
// it gave everything back.
func server(t *testing.T, o mux.Options, h mux.Handler) (m *mux.Mux, addr string) {
	t.Helper()
	if o.Format == nil {
		o.Format = strparser.Length32
	}
	m, err := mux.New(o)
	if err != nil {
		t.Fatal(err)
	}
	m.Handle(h)
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
		for i, l := range m.Loops() {
			if st := l.Stats(); st.BuffersFree != st.Buffers {
				t.Errorf("loop %d: %d of %d receive buffers came back", i, st.BuffersFree, st.Buffers)
			}
		}
	})
	return m, ln.Addr().String()
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
