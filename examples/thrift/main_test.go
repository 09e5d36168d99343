package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kcm-go/kcm/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// patience is when a test that waits gives up.
const patience = 20 * time.Second

// TestRun does what the command does.
func TestRun(t *testing.T) {
	var out strings.Builder // nobody writes when run has ended
	if err := run(t.Context(), config{workers: 2, clients: 3}, &out); err != nil {
		t.Fatal(err)
	}
	calls, answered := 0, 0
	for line := range strings.Lines(out.String()) {
		var worker, n int
		if k, _ := fmt.Sscanf(line, "worker %d answered %d calls", &worker, &n); k == 2 {
			answered += n
		}
		before, after, ok := strings.Cut(strings.TrimSpace(line), "] is ")
		if !ok {
			continue
		}
		calls++
		var want, got int64
		_, numbers, _ := strings.Cut(before, "[")
		for field := range strings.FieldsSeq(numbers) {
			var x int64
			fmt.Sscan(field, &x)
			want += x
		}
		if fmt.Sscan(after, &got); got != want {
			t.Errorf("%q", line)
		}
	}
	if calls != 9 || answered != calls {
		t.Errorf("%d sums were printed and %d calls answered, want 9:\n%s", calls, answered, &out)
	}
}

// TestClients has clients of Thrift's library call at the same time, with lists from nothing
// to a whole frame.
func TestClients(t *testing.T) {
	const clients, calls = 4, 30
	s := start(t, 3)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			c, err := dial(s.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.close()
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			for k := range calls {
				n := rng.IntN(1 << rng.IntN(17))
				if k == 0 {
					n = maxFrame/8 - 10 // the rest of the frame is name and types
				}
				numbers := make([]int64, n)
				want := int64(0)
				for j := range numbers {
					numbers[j] = rng.Int64N(1<<40) - 1<<39
					want += numbers[j]
				}
				if got, err := c.sum(t.Context(), numbers); err != nil || got != want {
					t.Errorf("client %d, call %d: the sum of %d numbers is %d, %v; want %d", i, k, n, got, err, want)
					return
				}
			}
		})
	}
	all.Wait()
	if n, err := s.stop(t); err != nil || n != clients*calls {
		t.Errorf("%d calls answered, %v; want %d", n, err, clients*calls)
	}
}

// TestExceptions checks that what cannot be answered is said to the client in Thrift's way,
// and that its connection goes on.
func TestExceptions(t *testing.T) {
	s := start(t, 1)
	c, err := dial(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	exception := func(what string, err error, want int32) {
		t.Helper()
		x, ok := errors.AsType[thrift.TApplicationException](err)
		if !ok || x.TypeId() != want {
			t.Errorf("%s: %v, want an exception of type %d", what, err, want)
		}
	}
	_, err = c.sum(t.Context(), []int64{math.MaxInt64, 1})
	exception("a sum too large", err, thrift.INTERNAL_ERROR)
	_, err = c.sum(t.Context(), []int64{-2, math.MinInt64})
	exception("a sum too small", err, thrift.INTERNAL_ERROR)
	_, err = c.calls.Call(t.Context(), "product", &sumArgs{[]int64{1}}, &sumResult{})
	exception("another method", err, thrift.UNKNOWN_METHOD)
	if got, err := c.sum(t.Context(), []int64{math.MaxInt64, math.MinInt64}); err != nil || got != -1 {
		t.Errorf("then the sum is %d, %v; want -1", got, err)
	}
}

// TestFramesInPieces sends many calls without waiting for replies, cut anywhere: the replies
// come in order.
func TestFramesInPieces(t *testing.T) {
	const calls = 100
	s := start(t, 3)
	var stream []byte
	for i := range calls {
		stream = append(stream, frame(t, int32(i), int64(i), 1000)...)
	}
	c := s.dial(t)
	rng := rand.New(rand.NewPCG(1, 1))
	for rest := stream; len(rest) > 0; {
		n := min(len(rest), 1+rng.IntN(200))
		if _, err := c.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	framed := thrift.NewTFramedTransportConf(thrift.NewStreamTransportR(c), conf)
	for i := range calls {
		p := thrift.NewTBinaryProtocolConf(framed, conf)
		name, kind, seq, err := p.ReadMessageBegin(t.Context())
		if err != nil || name != "sum" || kind != thrift.REPLY || seq != int32(i) {
			t.Fatalf("reply %d is of type %d, %d to %q: %v", i, kind, seq, name, err)
		}
		var result sumResult
		if err := result.Read(t.Context(), p); err != nil || result.success != int64(i)+1000 {
			t.Fatalf("reply %d: %d, %v; want %d", i, result.success, err, i+1000)
		}
	}
	c.Close()
	if n, err := s.stop(t); err != nil || n != calls {
		t.Errorf("%d calls answered, %v; want %d", n, err, calls)
	}
}

// TestNoCall checks that what is no call ends its connection, behind the replies to the calls
// before it, and no other.
func TestNoCall(t *testing.T) {
	s := start(t, 2)
	other, err := dial(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	call := frame(t, 7, 1, 2)
	reply := frame(t, 7, 1, 2)
	reply[7] = byte(thrift.REPLY) // as a reply to nobody
	for name, b := range map[string][]byte{
		"a length that comes out negative": {0x80, 0, 0, 0},
		"a length that comes out as 2":     {0xff, 0xff, 0xff, 0xfe},
		"a frame too long":                 binary.BigEndian.AppendUint32(nil, maxFrame+1),
		"an empty frame":                   {0, 0, 0, 0},
		"no Thrift":                        []byte("\x00\x00\x00\x05hello"),
		"a reply":                          reply,
		"half the arguments":               append([]byte{0, 0, 0, byte(len(call) - 4 - 9)}, call[4:len(call)-9]...),
	} {
		c := s.dial(t)
		if _, err := c.Write(append(call[:len(call):len(call)], b...)); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if errors.Is(err, os.ErrDeadlineExceeded) || !bytes.HasPrefix(got, []byte{0, 0, 0}) || len(got) != 4+int(got[3]) {
			t.Errorf("%s: %x, %v; want one reply and the end", name, got, err)
		}
		if got, err := other.sum(t.Context(), []int64{3, 4}); err != nil || got != 7 {
			t.Fatalf("another connection after %s: %d, %v", name, got, err)
		}
	}
}

// TestCannotStart checks that what keeps either side from starting is said.
func TestCannotStart(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for name, c := range map[string]struct {
		config
		want error
	}{
		"address in use": {config{listen: ln.Addr().String(), workers: 1}, syscall.EADDRINUSE},
		"nobody there":   {config{connect: gone.Addr().String(), workers: 1, clients: 1}, syscall.ECONNREFUSED},
		"no workers":     {config{}, syscall.EINVAL},
	} {
		if err := run(t.Context(), c.config, io.Discard); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// frame returns the framed call of sum that Thrift's library makes.
func frame(t *testing.T, seq int32, numbers ...int64) []byte {
	t.Helper()
	buf := thrift.NewTMemoryBuffer()
	p := thrift.NewTBinaryProtocolConf(thrift.NewTFramedTransportConf(buf, conf), conf)
	if err := reply(t.Context(), p, "sum", seq, thrift.CALL, &sumArgs{numbers}); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// server is serve in a goroutine.
type server struct {
	addr     string
	cancel   context.CancelFunc
	ended    chan struct{}
	answered int // by all workers
	err      error
}

func start(t *testing.T, workers int) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{addr: ln.Addr().String(), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		answered, err := serve(ctx, ln, workers)
		for _, n := range answered {
			s.answered += n
		}
		s.err = err
	}()
	t.Cleanup(func() { s.stop(t) })
	return s
}

// stop ends the server as a signal would and returns how many calls were answered.
func (s *server) stop(t *testing.T) (int, error) {
	t.Helper()
	s.cancel()
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatal("the server did not end")
	}
	return s.answered, s.err
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
