//go:build linux

package ring

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
)

const simAddr = "10.0.0.1:80"

func simTo(name string) net.Addr { return netAddr(ringtest.ParseAddr(name)) }

// server is a Listener over the simulator and what it was told.
type server struct {
	*Listener
	fds   []int
	ended []error
	conn  func(fd int)
}

func (b *bed) listen() *server {
	b.t.Helper()
	fd, err := b.sim.Listen(simAddr)
	if err != nil {
		b.t.Fatal(err)
	}
	sv := new(server)
	sv.Listener, err = b.l.Listen(fd, func(fd int) {
		sv.fds = append(sv.fds, fd)
		if sv.conn != nil {
			sv.conn(fd)
			return
		}
		b.l.Discard(fd)
	}, func(err error) { sv.ended = append(sv.ended, err) })
	if err != nil {
		b.t.Fatal(err)
	}
	return sv
}

func (b *bed) dial(n int) {
	b.t.Helper()
	for range n {
		if _, err := b.sim.Dial(simAddr); err != nil {
			b.t.Fatal(err)
		}
	}
}

func TestAccept(t *testing.T) {
	for name, faults := range map[string][]ringtest.Fault{"calm": nil, "ends": {ringtest.EndAccept}} {
		t.Run(name, func(t *testing.T) {
			b := newFaultyBed(t, small(), faults...)
			sv := b.listen()
			b.dial(10)
			b.until("all are accepted", func() bool { return len(sv.fds) == 10 })
			if n := b.l.Stats().Accepted; n != 10 {
				t.Errorf("Stats.Accepted is %d, want 10", n)
			}
			sv.Close()
			sv.Close()
			b.quiet()
			if !slices.Equal(sv.ended, []error{nil}) {
				t.Errorf("ended: %v, want nil once", sv.ended)
			}
			if _, err := b.sim.Dial(simAddr); !isErrno(err, syscall.ECONNREFUSED) {
				t.Errorf("after Close: %v, want ECONNREFUSED", err)
			}
		})
	}
}

// An error that leaves the accept in flight changes nothing.
func TestAcceptErrorThatPasses(t *testing.T) {
	net := ringtest.Calm()
	net.Odds[ringtest.AcceptError] = 0.5
	b := newBedOn(t, ringtest.New(1, net), small())
	sv := b.listen()
	b.dial(20)
	b.until("all are accepted", func() bool { return len(sv.fds) == 20 })
	if b.sim.Hits(ringtest.AcceptError) == 0 || len(sv.ended) != 0 || b.spy.accepts != 1 {
		t.Errorf("%d errors, ended %v, %d accepts", b.sim.Hits(ringtest.AcceptError), sv.ended, b.spy.accepts)
	}
}

// Out of descriptors: the listener pauses and goes on.
func TestAcceptPausesWithoutDescriptors(t *testing.T) {
	b := newBed(t, small())
	fd, err := b.sim.Listen(simAddr)
	if err != nil {
		t.Fatal(err)
	}
	b.spy.refuse = []syscall.Errno{syscall.EMFILE, syscall.ENOMEM, syscall.ECONNABORTED}
	accepted := 0
	ln, err := b.l.Listen(fd, func(fd int) { accepted++; b.l.Discard(fd) }, func(err error) {
		if err != nil {
			t.Errorf("ended: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	b.dial(1)
	b.until("it is accepted", func() bool { return accepted == 1 })
	at := b.spy.acceptAt
	if len(at) != 4 || at[1]-at[0] < acceptPause || at[2]-at[1] < acceptPause || at[3]-at[2] >= acceptPause {
		t.Errorf("accepts at %v, want pauses of %v but none after ECONNABORTED", at, acceptPause)
	}
	ln.Close()
}

func TestListenerCloseWhilePaused(t *testing.T) {
	b := newBed(t, small())
	b.spy.refuse = []syscall.Errno{syscall.EMFILE}
	sv := b.listen()
	b.until("it pauses", func() bool { return sv.pause.Armed() })
	sv.Close()
	b.quiet()
	if !slices.Equal(sv.ended, []error{nil}) || b.spy.accepts != 2 {
		t.Errorf("ended: %v, %d accepts", sv.ended, b.spy.accepts)
	}
}

// What came before a pause, or in it, is accepted when the listener closes, since another
// process with the same socket may not have been told. When descriptors are still missing
// it ends all the same.
func TestCloseAcceptsWhatAPauseLeft(t *testing.T) {
	for name, test := range map[string]struct {
		errs []syscall.Errno
		want int
	}{
		"descriptors are back":    {[]syscall.Errno{syscall.EMFILE}, 2},
		"one connection failed":   {[]syscall.Errno{syscall.EMFILE, syscall.ECONNABORTED}, 2},
		"descriptors are missing": {[]syscall.Errno{syscall.EMFILE, syscall.EMFILE}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, small())
			b.spy.refuse = test.errs
			sv := b.listen()
			b.until("it pauses", func() bool { return sv.pause.Armed() })
			b.dial(2)
			sv.Close()
			b.until("it has ended", func() bool { return len(sv.ended) > 0 })
			b.quiet()
			if len(sv.fds) != test.want || !slices.Equal(sv.ended, []error{nil}) || b.spy.accepts != len(test.errs)+min(test.want, 1) {
				t.Errorf("%d connections of %d accepts, ended: %v, want %d and nil once", len(sv.fds), b.spy.accepts, sv.ended, test.want)
			}
		})
	}
}

// Every accept ends by itself after one connection: the listener closes behind all of them.
func TestCloseBehindAcceptsThatEnd(t *testing.T) {
	b := newFaultyBed(t, small(), ringtest.EndAccept, ringtest.LateCancel)
	sv := b.listen()
	b.sim.Step(b.turn)
	sv.Close()
	b.dial(3)
	b.until("it has ended", func() bool { return len(sv.ended) > 0 })
	b.quiet()
	if len(sv.fds) != 3 || !slices.Equal(sv.ended, []error{nil}) {
		t.Errorf("%d connections, ended: %v, want 3 and nil once", len(sv.fds), sv.ended)
	}
}

func TestListenerFails(t *testing.T) {
	b := newBed(t, small())
	b.spy.refuse = []syscall.Errno{syscall.EINVAL}
	sv := b.listen()
	b.until("it has ended", func() bool { return len(sv.ended) == 1 })
	if !isErrno(sv.ended[0], syscall.EINVAL) {
		t.Errorf("ended: %v, want EINVAL", sv.ended)
	}
}

// A connection that is accepted while the listener closes is not lost.
func TestAcceptWhileTheListenerCloses(t *testing.T) {
	b := newFaultyBed(t, small(), ringtest.LateCancel)
	sv := b.listen()
	b.sim.Step(b.turn)
	sv.Close()
	b.sim.Step(b.turn) // submits the cancel, which comes late
	peer, err := b.sim.Dial(simAddr)
	if err != nil {
		t.Fatal(err)
	}
	b.until("it has ended", func() bool { return len(sv.ended) == 1 })
	if len(sv.fds) != 1 || b.spy.closed != 2 { // by conn, and the listener's own
		t.Errorf("%d connections, %d descriptors closed, want 1 and 2", len(sv.fds), b.spy.closed)
	}
	b.sim.Settle()
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the far end finds %v, want EOF", err)
	}
}

func TestRemoteAddrOfAnAcceptedDescriptor(t *testing.T) {
	b := newBed(t, small())
	sv := b.listen()
	var addr net.Addr
	sv.conn = func(fd int) {
		addr = b.l.RemoteAddr(fd)
		b.l.Discard(fd)
		if gone := b.l.RemoteAddr(fd); gone.String() != "" {
			t.Errorf("of a closed descriptor: %v", gone)
		}
	}
	b.dial(1)
	b.until("it is accepted", func() bool { return len(sv.fds) == 1 })
	if a, ok := addr.(*net.TCPAddr); !ok || a.IP.String() != "10.0.0.1" || a.Port == 0 {
		t.Errorf("RemoteAddr: %v, want a port of 10.0.0.1", addr)
	}
}

// The listener may be closed by what it calls, also in its last event. Those that were
// there together with the first come all the same, one after the other.
func TestListenerClosedByItsConnection(t *testing.T) {
	const want = 3
	for name, faults := range map[string][]ringtest.Fault{"in flight": nil, "in its last event": {ringtest.EndAccept}} {
		t.Run(name, func(t *testing.T) {
			b := newFaultyBed(t, small(), faults...)
			sv := b.listen()
			inside := false
			sv.conn = func(fd int) {
				if inside || len(sv.ended) > 0 {
					t.Error("called inside a call, or after the end")
				}
				inside = true
				b.l.Discard(fd)
				sv.Close()
				inside = false
			}
			b.dial(want)
			b.until("it has ended", func() bool { return len(sv.ended) > 0 })
			b.quiet()
			if len(sv.ended) != 1 || len(sv.fds) != want {
				t.Errorf("ended %d times after %d connections, want once after %d", len(sv.ended), len(sv.fds), want)
			}
			if n := b.l.Stats().Streams; n != 0 {
				t.Errorf("%d endpoints are left", n)
			}
		})
	}
}

func TestLoopCloseWithAListener(t *testing.T) {
	b := newBed(t, small())
	sv := b.listen()
	b.dial(3)
	b.close()
	if len(sv.ended) != 1 || !errors.Is(sv.ended[0], ErrClosed) {
		t.Errorf("ended: %v, want ErrClosed once", sv.ended)
	}
	if _, err := b.l.Listen(0, nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Listen on a closed loop: %v", err)
	}
	if _, err := b.l.Dial(simTo(simAddr), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Dial on a closed loop: %v", err)
	}
	if _, err := b.l.Attach(0, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Attach on a closed loop: %v", err)
	}
}

// Messages may be sent before the connection is there.
func TestDial(t *testing.T) {
	b := newBed(t, small())
	sv := b.listen()
	far := &rec{t: t}
	sv.conn = func(fd int) {
		s, err := b.l.Attach(fd, far)
		if err != nil {
			t.Error(err)
		}
		far.s = s
	}
	r := &rec{t: t}
	s, err := b.l.Dial(simTo(simAddr), r)
	if err != nil {
		t.Fatal(err)
	}
	want := random(1, 3000)
	send(t, s, want[:1000])
	b.turn()
	if r.opened == 0 {
		send(t, s, want[1000:2000])
	} else {
		t.Error("connected in no time")
	}
	r.onOpened = func(s *Stream) { send(t, s, want[2000:]) }
	b.until("all has come", func() bool { return len(far.got) == len(want) })
	same(t, "the server", far.got, want)
	if r.opened != 1 || s.RemoteAddr().String() != simAddr || r.s != s {
		t.Errorf("Opened %d times, remote address %v", r.opened, s.RemoteAddr())
	}
	if st := b.l.Stats(); st.Opened != 2 {
		t.Errorf("Stats.Opened is %d, want 2", st.Opened)
	}
}

func TestDialRefused(t *testing.T) {
	b := newBed(t, small())
	r := &rec{t: t}
	s, err := b.l.Dial(simTo(simAddr), r)
	if err != nil {
		t.Fatal(err)
	}
	send(t, s, make([]byte, 70))
	b.until("Closed is called", func() bool { return r.closes == 1 })
	if r.opened != 0 || !isErrno(r.cause, syscall.ECONNREFUSED) || r.rest != 70 {
		t.Errorf("Opened %d times, Closed with %v and %d bytes", r.opened, r.cause, r.rest)
	}
}

func TestDrainWhileConnecting(t *testing.T) {
	b := newBed(t, small())
	b.listen()
	r := &rec{t: t}
	s, err := b.l.Dial(simTo(simAddr), r)
	if err != nil {
		t.Fatal(err)
	}
	s.Drain(errOurs)
	b.until("Closed is called", func() bool { return r.closes == 1 })
	if r.cause != errOurs || r.opened != 0 {
		t.Errorf("Closed with %v, Opened %d times", r.cause, r.opened)
	}
}

// The handler may end a stream as soon as it is there.
func TestCloseInOpened(t *testing.T) {
	b := newBed(t, small())
	b.listen()
	r := &rec{t: t}
	r.onOpened = func(s *Stream) { s.Close(errOurs) }
	s, err := b.l.Dial(simTo(simAddr), r)
	if err != nil {
		t.Fatal(err)
	}
	send(t, s, make([]byte, 70))
	b.until("Closed is called", func() bool { return r.closes == 1 })
	if r.opened != 1 || r.cause != errOurs || r.rest != 70 {
		t.Errorf("Opened %d times, Closed with %v and %d bytes", r.opened, r.cause, r.rest)
	}
}

func TestDialOfWhatCannotBe(t *testing.T) {
	b := newBed(t, small())
	for _, c := range []struct {
		to   net.Addr
		want syscall.Errno
	}{
		{&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, syscall.EAFNOSUPPORT},
		{&net.TCPAddr{Port: 1}, syscall.EINVAL},
		{&net.UnixAddr{Net: "unixgram", Name: "/x"}, syscall.EPROTONOSUPPORT},
	} {
		if _, err := b.l.Dial(c.to, &rec{t: t}); !isErrno(err, c.want) {
			t.Errorf("Dial %v: %v, want %v", c.to, err, c.want)
		}
	}
	if st := b.l.Stats(); st.Streams != 0 {
		t.Errorf("%d endpoints are left", st.Streams)
	}
}

func TestAddrConversion(t *testing.T) {
	for _, c := range []struct {
		in     net.Addr
		want   backend.Addr
		family int
	}{
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80}, ringtest.ParseAddr("10.0.0.1:80"), syscall.AF_INET},
		{&net.TCPAddr{IP: net.IPv6loopback, Port: 80}, ringtest.ParseAddr("[::1]:80"), syscall.AF_INET6},
		{&net.UnixAddr{Net: "unix", Name: "/run/x"}, backend.Addr{Path: "/run/x"}, syscall.AF_UNIX},
	} {
		got, family, err := backendAddr(c.in)
		if got != c.want || family != c.family || err != nil {
			t.Errorf("%v: %v, family %d, %v", c.in, got, family, err)
		}
		if back := netAddr(got); back.String() != c.in.String() || back.Network() != c.in.Network() {
			t.Errorf("%v comes back as %v", c.in, back)
		}
	}
}

// A loop that serves and dials itself.
func TestListenAndDialOnRealBackEnds(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		for _, network := range []string{"tcp", "unix"} {
			t.Run(network, func(t *testing.T) {
				o := small()
				o.Backend = be
				l := start(t, o)
				addr := "127.0.0.1:0"
				if network == "unix" {
					addr = filepath.Join(t.TempDir(), "s")
				}
				ln, err := net.Listen(network, addr)
				if err != nil {
					t.Fatal(err)
				}
				if u, ok := ln.(*net.UnixListener); ok {
					u.SetUnlinkOnClose(false)
				}
				to := ln.Addr()
				fd := dup(t, ln.(syscall.Conn))
				ln.Close()
				const n = 5
				var servers, clients []*rec
				ended := 0
				var lst *Listener
				do(t, l, func() {
					lst, err = l.Listen(fd, func(fd int) {
						sv := &rec{t: t}
						sv.onReady = func(s *Stream) {
							for e, ok := s.Peek(); ok; e, ok = s.Peek() {
								var m sgmsg.Message
								m.AppendShared(e)
								if err := s.Send(&m); err != nil {
									t.Error(err)
								}
								s.Consume(int(e.Len))
							}
						}
						sv.onState = func(s *Stream, err error) { s.Drain(err) }
						if sv.s, err = l.Attach(fd, sv); err != nil {
							t.Error(err)
						}
						servers = append(servers, sv)
					}, func(error) { ended++ })
					if err != nil {
						t.Error(err)
						return
					}
					for i := range n {
						c := &rec{t: t}
						s, err := l.Dial(to, c)
						if err != nil {
							t.Error(err)
							continue
						}
						send(t, s, random(uint64(i), 5000))
						clients = append(clients, c)
					}
				})
				waitOn(t, l, "all is echoed", func() bool {
					return !slices.ContainsFunc(clients, func(c *rec) bool { return len(c.got) < 5000 })
				})
				for i, c := range clients {
					same(t, "the echo", c.got, random(uint64(i), 5000))
				}
				do(t, l, func() {
					for _, c := range clients {
						c.s.Drain(nil)
					}
					lst.Close()
				})
				waitOn(t, l, "all are closed", func() bool { return l.Stats().Streams == 0 })
				late := &rec{t: t}
				do(t, l, func() {
					if ended != 1 || len(servers) != n {
						t.Errorf("ended %d times after %d connections", ended, len(servers))
					}
					if _, err := l.Dial(to, late); err != nil {
						t.Error(err)
					}
				})
				waitOn(t, l, "it is refused", func() bool { return late.closes == 1 })
				if !isErrno(late.cause, syscall.ECONNREFUSED) {
					t.Errorf("Closed with %v, want ECONNREFUSED", late.cause)
				}
			})
		}
	})
}
