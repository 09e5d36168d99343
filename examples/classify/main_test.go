package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/internal/leak"
	"github.com/kcm-go/kcm/mux"
)

func TestMain(m *testing.M) { leak.Main(m) }

// patience is when a test that waits gives up.
const patience = 10 * time.Second

// TestRequests checks each kind of request and of mistake.
func TestRequests(t *testing.T) {
	s := start(t, 1, nil)
	c := s.dial(t)
	for _, x := range []struct{ request, reply string }{
		{"Gcolour", "-no such key"},
		{"Scolour dark blue", "+"},
		{"Gcolour", "+dark blue"},
		{"Scolour red", "+"},
		{"Gcolour", "+red"},
		{"Gcolou", "-no such key"},
		{"Scold ", "+"},
		{"Gcold", "+"},
		{"S a value without a key", "+"},
		{"G", "+a value without a key"},
		{"Swarm", "-set needs a key, a space and a value"},
		{"D", digest("a value without a key", "", "red")},
		{"Dco", digest("", "red")},
		{"Dcolour", digest("red")},
		{"Dx", digest()},
		{"", "-empty request"},
		{"Xcolour", "-unknown request"},
		{"Slong " + strings.Repeat("long", 100_000), "+"},
		{"Glong", "+" + strings.Repeat("long", 100_000)},
	} {
		send(t, c, x.request)
		if got := receive(t, c); got != x.reply {
			t.Errorf("%.20q is answered with %.99q, want %.99q", x.request, got, x.reply)
		}
	}
	c.Close()
	s.stop(t)
}

// TestQuickRequestsBesideASlowOne has the only worker stand at a gate. Another
// connection's requests do not wait for it. Those of its own connection are carried
// out, which the other one sees, and their replies come when the slow one's has.
func TestQuickRequestsBesideASlowOne(t *testing.T) {
	g := newGate()
	s := start(t, 1, g)
	slow, other := s.dial(t), s.dial(t)
	send(t, slow, "D", "Skey value", "Gkey")
	g.await(t)
	for got := ""; got != "+value"; {
		send(t, other, "Gkey")
		if got = receive(t, other); got != "+value" && got != "-no such key" {
			t.Fatalf("the other connection got %q", got)
		}
	}
	for i := range 20 { // time enough for a reply out of order
		send(t, other, fmt.Sprintf("Sother %d", i), "Gother")
		if set, get := receive(t, other), receive(t, other); set != "+" || get != fmt.Sprintf("+%d", i) {
			t.Fatalf("the other connection got %q and %q", set, get)
		}
	}
	g.open()
	for _, want := range []string{digest("value", "19"), "+", "+value"} {
		if got := receive(t, slow); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	slow.Close()
	other.Close()
	s.stop(t)
}

// TestPipelines has several connections send mixed requests without waiting for replies.
func TestPipelines(t *testing.T) {
	const conns, requests, fixed = 4, 500, 50
	s := start(t, 3, nil)
	var values []string
	c := s.dial(t)
	for i := range fixed {
		values = append(values, fmt.Sprint("value ", i))
		send(t, c, fmt.Sprintf("Sfixed.%02d %s", i, values[i]))
		if got := receive(t, c); got != "+" {
			t.Fatal(got)
		}
	}
	c.Close()

	var wg sync.WaitGroup
	for i := range conns {
		c := s.dial(t)
		rnd := rand.New(rand.NewPCG(1, uint64(i)))
		var sent, want []string
		last := "-no such key"
		for k := range requests {
			switch rnd.IntN(3) {
			case 0:
				sent, want = append(sent, fmt.Sprintf("Sown.%d %d", i, k)), append(want, "+")
				last = fmt.Sprint("+", k)
			case 1:
				sent, want = append(sent, fmt.Sprint("Gown.", i)), append(want, last)
			case 2:
				from := rnd.IntN(fixed / 10)
				sent = append(sent, fmt.Sprint("Dfixed.", from))
				want = append(want, digest(values[from*10:from*10+10]...))
			}
		}
		wg.Go(func() { send(t, c, sent...) })
		wg.Go(func() {
			for k := range want {
				if got, err := read(c); got != want[k] || err != nil {
					t.Errorf("connection %d: %q is answered with %q, %v; want %q", i, sent[k], got, err, want[k])
					break
				}
			}
			c.Close()
		})
	}
	wg.Wait()
	s.stop(t)
}

// TestShutdownWhileBusy ends the server while the worker stands at the gate: what it
// has received is answered, in order.
func TestShutdownWhileBusy(t *testing.T) {
	g := newGate()
	s := start(t, 1, g)
	busy, idle := s.dial(t), s.dial(t)
	send(t, busy, "Skey value", "Dk", "Gkey", "Dx", "Gx")
	g.await(t)
	s.cancel()
	if rest, err := io.ReadAll(idle); err != nil || len(rest) > 0 {
		t.Errorf("at the end: %q, %v; want the end of the stream", rest, err)
	}
	idle.Close()
	g.open()
	for _, want := range []string{"+", digest("value"), "+value", digest(), "-no such key"} {
		if got := receive(t, busy); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if rest, err := io.ReadAll(busy); err != nil || len(rest) > 0 {
		t.Errorf("after the last reply: %q, %v; want the end of the stream", rest, err)
	}
	busy.Close()
	s.stop(t)
}

// TestCannotStart checks that what keeps the server from starting is said.
func TestCannotStart(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var s store
	if err := run(t.Context(), ln.Addr().String(), s.quick, 1, s.slow, io.Discard); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v, want EADDRINUSE", err)
	}
	if err := run(t.Context(), "127.0.0.1:0", s.quick, 0, s.slow, io.Discard); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("%v, want EINVAL", err)
	}
}

// gate holds slow requests until it is opened.
type gate struct {
	reached chan struct{} // gets one token
	opened  chan struct{}
}

func newGate() *gate {
	return &gate{reached: make(chan struct{}, 1), opened: make(chan struct{})}
}

func (g *gate) open() { close(g.opened) }

// pass is called by workers.
func (g *gate) pass() {
	select {
	case g.reached <- struct{}{}:
	default:
	}
	select {
	case <-g.opened:
	case <-time.After(patience): // the test has failed
	}
}

// await waits until a worker is there.
func (g *gate) await(t *testing.T) {
	t.Helper()
	select {
	case <-g.reached:
	case <-time.After(patience):
		t.Fatal("no worker got the slow request")
	}
}

// server is run in a goroutine.
type server struct {
	addr   string
	cancel context.CancelFunc
	ended  chan error
}

// start starts a server whose n workers stop at the gate, if it is not nil.
func start(t *testing.T, n int, g *gate) *server {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &server{cancel: cancel, ended: make(chan error, 1)}
	r, w := io.Pipe()
	go func() {
		var st store
		err := run(ctx, "127.0.0.1:0", st.quick, n, func(r *mux.Received) mux.Verdict {
			if g != nil {
				g.pass()
			}
			return st.slow(r)
		}, w)
		w.CloseWithError(err)
		s.ended <- err
	}()
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if addr, ok := strings.CutPrefix(lines.Text(), "listening "); ok {
			s.addr = addr
			return s
		}
	}
	t.Fatalf("the server did not start: %v", <-s.ended)
	return nil
}

// stop ends the server as a signal would.
func (s *server) stop(t *testing.T) {
	t.Helper()
	s.cancel()
	select {
	case err := <-s.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the server did not end")
	}
}

func (s *server) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// send writes all requests at once.
func send(t *testing.T, c net.Conn, requests ...string) {
	t.Helper()
	var b []byte
	for _, r := range requests {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(r))), r...)
	}
	if _, err := c.Write(b); err != nil {
		t.Error(err)
	}
}

func receive(t *testing.T, c net.Conn) string {
	t.Helper()
	reply, err := read(c)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func read(c net.Conn) (string, error) {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return "", err
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err := io.ReadFull(c, b)
	return string(b), err
}

// digest is the reply to a digest of these values.
func digest(values ...string) string {
	return fmt.Sprintf("+%d %x", len(values), sha256.Sum256([]byte(strings.Join(values, ""))))
}
