//go:build linux

package mux_test

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

func roundTrip(t *testing.T, c net.Conn, payload string) {
	t.Helper()
	msg := frame([]byte(payload))
	if _, err := c.Write(msg); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(msg))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, msg) {
		t.Fatalf("got %q, want %q", got, msg)
	}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	for _, tc := range []struct {
		o    mux.Options
		want string
	}{
		{mux.Options{}, "Format"},
		{mux.Options{Format: strparser.Length32, MaxMessage: -1}, "MaxMessage"},
		{mux.Options{Format: strparser.Length32, Loops: -1}, "Loops"},
		{mux.Options{Format: strparser.Length32, Ring: ring.Options{Buffers: 3}}, "Buffers"},
		{mux.Options{Format: strparser.Length32, Ring: ring.Options{BufferSize: 100}}, "BufferSize"},
		{mux.Options{Format: strparser.Length32, MaxMessage: 1 << 20, Ring: ring.Options{RegionBytes: -1, Buffers: 16}}, "does not fit"},
		{mux.Options{Format: strparser.Length32, MaxMessage: 1 << 20, Ring: ring.Options{RegionBytes: -1, Buffers: 16}}, "16 x 32768 = 524288 bytes"},
		{mux.Options{Format: strparser.Length32, MaxMessage: 1 << 20, Ring: ring.Options{SendSoft: 64 << 10, SendHard: 1 << 20}}, "SendSoft + MaxMessage = 1114112"},
	} {
		m, err := mux.New(tc.o)
		if err == nil {
			m.Close()
			t.Errorf("%+v was accepted", tc.o)
			continue
		}
		if !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error %q, want EINVAL that names %s", err, tc.want)
		}
	}
}

func TestShutdownSendsWhatIsQueued(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m, addr := server(t, mux.Options{Ring: ring.Options{Backend: b}}, echo)
		c := dial(t, addr)
		msg := frame(make([]byte, 512<<10))
		roundTrip(t, c, "hello")
		go c.Write(msg)
		// Wait until the reply is under way, then shut down: the rest still comes.
		got := make([]byte, len(msg))
		if _, err := io.ReadFull(c, got[:1]); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- m.Shutdown(context.Background()) }()
		if _, err := io.ReadFull(c, got[1:]); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(got); err != io.EOF {
			t.Fatalf("after the reply came %d bytes, %v; want the end", n, err)
		}
		c.Close()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if _, err := m.Attach(dialNothing(t)); !errors.Is(err, mux.ErrClosed) {
			t.Errorf("Attach after Shutdown: %v, want ErrClosed", err)
		}
	})
}

// dialNothing returns one end of a connection whose other end nobody reads.
func dialNothing(t *testing.T) net.Conn {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return dial(t, ln.Addr().String())
}

func TestShutdownOfAPeerThatDoesNotReadEndsWithTheContext(t *testing.T) {
	m, addr := server(t, mux.Options{}, echo)
	c := dial(t, addr)
	go func() {
		msg := frame(make([]byte, 64<<10))
		for {
			if _, err := c.Write(msg); err != nil {
				return
			}
		}
	}()
	for m.Stats().Pauses == 0 { // until it is made to wait; each look takes a turn of the loop
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := m.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v, want deadline exceeded", err)
	}
}

func TestHandlerPanicEndsItsConnectionOnly(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		causes := make(chan error, 2)
		_, addr := server(t, mux.Options{
			Ring:    ring.Options{Backend: b},
			OnClose: func(_ *mux.Psock, err error) { causes <- err },
		}, func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
			if string(msg.Head(8, nil)[4:]) == "boom" {
				panic("told to")
			}
			return echo(from, msg)
		})
		good, bad := dial(t, addr), dial(t, addr)
		roundTrip(t, good, "before")
		bad.Write(frame([]byte("boom")))
		if b, err := io.ReadAll(bad); len(b) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the panicking connection gave %q, %v", b, err)
		}
		var pe *mux.PanicError
		if err := <-causes; !errors.As(err, &pe) || pe.Value != "told to" {
			t.Errorf("cause %v, want a PanicError", err)
		}
		roundTrip(t, good, "after")
	})
}

func TestEndSendsTheReplyAndCloses(t *testing.T) {
	causes := make(chan error, 1)
	_, addr := server(t, mux.Options{OnClose: func(_ *mux.Psock, err error) { causes <- err }},
		func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
			from.Send(msg)
			return mux.End
		})
	c := dial(t, addr)
	msg := frame([]byte("only this"))
	c.Write(slices.Concat(msg, frame([]byte("not this"))))
	got, err := io.ReadAll(c)
	if err != nil || !slices.Equal(got, msg) {
		t.Errorf("got %q, %v", got, err)
	}
	c.Close()
	if err := <-causes; err != nil {
		t.Errorf("OnClose got %v, want nil", err)
	}
}

func TestUnixSocketsAttachAndValue(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m, err := mux.New(mux.Options{Format: strparser.Length32, Ring: ring.Options{Backend: b}})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		m.Handle(echo)
		path := filepath.Join(t.TempDir(), "s")
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		s, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		// What is there before the attach is delivered without anything new.
		c.Write(frame([]byte("early")))
		p, err := m.Attach(s)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 9)
		if _, err := io.ReadFull(c, got); err != nil {
			t.Fatal(err)
		}
		roundTrip(t, c, "later")
		if p.Value() != nil {
			t.Error("a value before SetValue")
		}
		p.SetValue(7)
		p.SetValue("seven")
		if p.Value() != "seven" {
			t.Errorf("value %v", p.Value())
		}
		if err := m.Stats(); err.RxMessages != 2 || err.TxMessages != 2 || err.Psocks != 1 {
			t.Errorf("stats %+v", err)
		}
	})
}

func TestAttachErrorsOfTheKernel(t *testing.T) {
	m, err := mux.New(mux.Options{Format: strparser.Length32})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	udp, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(udp)
	fresh, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fresh)
	listening, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(listening)
	if err := syscall.Listen(listening, 1); err != nil {
		t.Fatal(err)
	}
	var pipe [2]int
	if err := syscall.Pipe2(pipe[:], syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pipe[0])
	defer syscall.Close(pipe[1])
	for name, tc := range map[string]struct {
		fd   int
		want syscall.Errno
	}{
		"no descriptor": {-1, syscall.ENOENT},
		"a pipe":        {pipe[0], syscall.ENOENT},
		"udp":           {udp, syscall.EOPNOTSUPP},
		"not connected": {fresh, syscall.EOPNOTSUPP},
		"listening":     {listening, syscall.EOPNOTSUPP},
	} {
		if _, err := m.AttachFD(tc.fd); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pair[1])
	if _, err := m.AttachFD(pair[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := m.AttachFD(pair[0]); !errors.Is(err, syscall.EALREADY) {
		t.Errorf("attached twice: %v, want EALREADY", err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := m.Attach(a); !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Errorf("net.Pipe: %v, want EOPNOTSUPP", err)
	}
}

func TestDetachReplaysWhatWasNotDelivered(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		conns := make(chan net.Conn, 1)
		_, addr := server(t, mux.Options{Ring: ring.Options{Backend: b}},
			func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
				from.Send(msg)
				from.DetachTo(func(c net.Conn, err error) {
					if err != nil {
						t.Error(err)
					}
					conns <- c
				})
				return mux.Done
			})
		c := dial(t, addr)
		first := frame([]byte("upgrade"))
		c.Write(slices.Concat(first, []byte("GET / HTTP/1.1\r\n")))
		got := make([]byte, len(first))
		if _, err := io.ReadFull(c, got); err != nil || !slices.Equal(got, first) {
			t.Fatalf("reply %q, %v", got, err)
		}
		s := <-conns
		defer s.Close()
		c.Write([]byte("Host: x\r\n"))
		c.(*net.TCPConn).CloseWrite()
		rest, err := io.ReadAll(s)
		if err != nil || string(rest) != "GET / HTTP/1.1\r\nHost: x\r\n" {
			t.Errorf("the detached connection read %q, %v", rest, err)
		}
		s.Write([]byte("bye"))
		s.Close()
		if b, err := io.ReadAll(c); err != nil || string(b) != "bye" {
			t.Errorf("client read %q, %v", b, err)
		}
	})
}

func TestDialAndSendFromAnyGoroutine(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		_, addr := server(t, mux.Options{Ring: ring.Options{Backend: b}}, echo)
		replies := make(chan string, 100)
		m, err := mux.New(mux.Options{Format: strparser.Length32, Ring: ring.Options{Backend: b}})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		m.Handle(func(_ *mux.Psock, msg *sgmsg.Message) mux.Verdict {
			msg.TrimFront(4)
			replies <- string(msg.AppendTo(nil))
			return mux.Done
		})
		p, err := m.Dial(context.Background(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{}
		for i := range 100 {
			s := strings.Repeat("x", i)
			want = append(want, s)
			if err := p.SendPayload([]byte(s)); err != nil {
				t.Fatal(err)
			}
		}
		for _, w := range want {
			if got := <-replies; got != w {
				t.Fatalf("reply %q, want %q", got, w)
			}
		}
		if err := p.SendPayload(make([]byte, 2<<20)); !errors.Is(err, syscall.EMSGSIZE) {
			t.Errorf("a payload over MaxMessage: %v, want EMSGSIZE", err)
		}
	})
}

func TestDialRefused(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m, err := mux.New(mux.Options{Format: strparser.Length32, Ring: ring.Options{Backend: b}})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := ln.Addr().String()
		ln.Close()
		if _, err := m.Dial(context.Background(), "tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), addr) {
			t.Errorf("dial of a closed port: %v, want ECONNREFUSED with the address", err)
		}
		if n := m.Psocks(); n != 0 {
			t.Errorf("%d connections left", n)
		}
	})
}

func TestBlockingCallsOnALoopAreRefused(t *testing.T) {
	errs := make(chan error, 4)
	m, addr := server(t, mux.Options{}, func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
		m := from.Mux()
		_, err := m.Dial(context.Background(), "tcp", "127.0.0.1:1")
		errs <- err
		_, err = from.Detach()
		errs <- err
		errs <- m.Shutdown(context.Background())
		errs <- m.Close()
		return echo(from, msg)
	})
	_ = m
	roundTrip(t, dial(t, addr), "x")
	for range 4 {
		if err := <-errs; !errors.Is(err, syscall.EDEADLK) {
			t.Errorf("%v, want EDEADLK", err)
		}
	}
}

func TestMessagesToAClosedConnectionAreReportedLost(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		lost := make(chan string, 10)
		closed := make(chan *mux.Psock, 1)
		_, addr := server(t, mux.Options{
			Ring:    ring.Options{Backend: b},
			OnClose: func(p *mux.Psock, _ error) { closed <- p },
			OnLost: func(_ *mux.Psock, msg *sgmsg.Message, err error) {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("lost because of %v, want ErrClosed", err)
				}
				lost <- string(msg.AppendTo(nil))
			},
		}, echo)
		c := dial(t, addr)
		roundTrip(t, c, "x")
		c.Close()
		p := <-closed
		if err := p.SendPayload([]byte("late")); err == nil {
			if got := <-lost; got != string(frame([]byte("late"))) {
				t.Errorf("lost %q", got)
			}
		}
		var msg sgmsg.Message
		if p.TrySend(&msg) || !msg.Live() {
			t.Error("TrySend to a closed connection took the message")
		}
	})
}

// A consumer that does not read makes the producer wait, here a proxy's: the
// messages of one connection fill another connection's queue.
func TestAProxysProducerWaitsForItsConsumer(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		psocks := make(chan *mux.Psock, 2)
		var sink *mux.Psock
		ready := make(chan struct{})
		m, addr := server(t, mux.Options{Ring: ring.Options{Backend: b}, OnOpen: func(p *mux.Psock) { psocks <- p }},
			func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
				<-ready
				sink.Send(msg)
				return mux.Done
			})
		consumer := dial(t, addr)
		sink = <-psocks
		producer := dial(t, addr)
		<-psocks
		close(ready)
		const n, size = 400, 32 << 10
		sent := make(chan error, 1)
		go func() {
			msg := frame(make([]byte, size))
			for range n {
				if _, err := producer.Write(msg); err != nil {
					sent <- err
					return
				}
			}
			sent <- nil
		}()
		for m.Stats().Pauses == 0 { // each look takes a turn of the loop
		}
		got, err := io.CopyN(io.Discard, consumer, n*(size+4))
		if err != nil {
			t.Fatalf("the consumer read %d bytes: %v", got, err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	})
}
