package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
)

// ServerOptions configure a Server.
type ServerOptions struct {
	Listen     string        // host:port, or unix:/path
	Backend    ring.Backend  // of each loop
	Loops      int           // 0: what mux takes by default
	Pin        bool          // each loop to a core of its own
	Spin       time.Duration // longest time a loop looks for work before it sleeps
	Features   string        // ring.Options.Features
	MaxMessage int           // largest payload; 0: 16 MiB
	Dispatch   Dispatch      // who handles messages
	Workers    int           // their number, unless Dispatch is Inline
	PinWorkers bool          // each worker to a CPU of its own
	Unordered  bool          // workers may handle messages of a connection at the same time, and answer in any order
	Work       Work          // what is done with a message before it is answered
	Service    time.Duration // time to work on each message, WorkFixed only
	Frame      Frame         // framing of messages
}

// DefaultMaxMessage is the largest payload a Server takes unless told otherwise.
const DefaultMaxMessage = 16 << 20

// Check returns an *OptionError for the first value that cannot work, or nil.
func (o *ServerOptions) Check() error {
	switch {
	case o.Loops < 0:
		return &OptionError{"loops", o.Loops, "0 or more"}
	case o.Spin < 0:
		return &OptionError{"spin", o.Spin, "a time, or 0"}
	case ring.CheckFeatures(o.Features) != nil:
		return &OptionError{"features", o.Features, fmt.Sprintf("a list that the loops take: %v", ring.CheckFeatures(o.Features))}
	case o.MaxMessage < 0 || o.MaxMessage > MaxSize:
		return &OptionError{"max-message", o.MaxMessage, fmt.Sprintf("up to %d bytes", MaxSize)}
	case o.Dispatch > FIFO:
		return &OptionError{"policy", o.Dispatch, "inline, idle or fifo"}
	case o.Workers < 0:
		return &OptionError{"workers", o.Workers, "0 or more"}
	case o.Dispatch == Inline && o.Workers != 0:
		return &OptionError{"workers", o.Workers, "none with the policy inline"}
	case o.Dispatch != Inline && o.Workers < 1:
		return &OptionError{"workers", o.Workers, fmt.Sprintf("at least 1 with the policy %v", o.Dispatch)}
	case o.Frame.problem():
		return &OptionError{"frame", o.Frame, wantFrame[len("want "):]}
	case o.Work > WorkMessage:
		return &OptionError{"work", o.Work, "fixed or message"}
	case o.Service < 0:
		return &OptionError{"service", o.Service, "a time, or 0"}
	case o.Service > 0 && o.Work == WorkMessage:
		return &OptionError{"service", o.Service, "0, for the messages say how long"}
	}
	return nil
}

// SplitAddress returns the network and address of host:port or unix:/path, as
// package net wants them.
func SplitAddress(s string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if path == "" {
			return "", "", fmt.Errorf("want unix:/path")
		}
		return "unix", path, nil
	}
	if _, _, err := net.SplitHostPort(s); err != nil {
		return "", "", fmt.Errorf("want host:port or unix:/path")
	}
	return "tcp", s, nil
}

// joinAddress is the inverse of SplitAddress.
func joinAddress(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}

// Server answers every message with itself, after the work its options ask for. No
// byte is copied: the reply is the received message.
type Server struct {
	mux     *mux.Mux
	addr    net.Addr
	served  chan error
	mallocs uint64
}

// NewServer starts a server; when it returns, connections are accepted. Errors:
// *OptionError, those of listening (EADDRINUSE ...), and what keeps a loop from
// starting.
func NewServer(o ServerOptions) (*Server, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	network, address, err := SplitAddress(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen %s: %w", o.Listen, err)
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = DefaultMaxMessage
	}
	mo := mux.Options{
		Format:     o.Frame.Format(),
		MaxMessage: maxHeader + o.MaxMessage,
		Loops:      o.Loops,
		Pin:        o.Pin,
		PinWorkers: o.PinWorkers,
		Ring:       ring.Options{Backend: o.Backend, Spin: o.Spin, Features: o.Features},
	}
	if o.Dispatch == FIFO {
		mo.Policy = mux.FIFO
	}
	if o.Unordered {
		mo.FlowCap = -1
	}
	m, err := mux.New(mo)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if err := o.handle(m); err != nil {
		_ = m.Close() // err says more
		return nil, fmt.Errorf("server: %w", err)
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		_ = m.Close() // err says more
		return nil, fmt.Errorf("server: %w", err)
	}
	s := &Server{mux: m, addr: ln.Addr(), served: make(chan error, 1), mallocs: mallocs()}
	go func() { s.served <- m.Serve(ln) }()
	return s, nil
}

// handle says who handles the messages of m, and how.
func (o *ServerOptions) handle(m *mux.Mux) error {
	work := o.task()
	if o.Dispatch == Inline {
		m.Handle(echo)
		if work != nil {
			m.Handle(func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
				work(msg)
				return echo(from, msg)
			})
		}
		return nil
	}
	_, err := m.Workers(o.Workers, func(r *mux.Received) mux.Verdict {
		if work != nil {
			work(r.Msg)
		}
		r.Reply(r.Msg)
		return mux.Done
	})
	return err
}

func echo(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
	from.Send(msg)
	return mux.Done
}

// Addr returns where the server listens: host:port or unix:/path.
func (s *Server) Addr() string { return joinAddress(s.addr) }

// Loops returns the server's loops.
func (s *Server) Loops() []*ring.Loop { return s.mux.Loops() }

// Placement says where the loops run.
func (s *Server) Placement() Placement { return place(s.Loops()) }

// Done delivers what ended the server by itself, or the outcome of Shutdown.
func (s *Server) Done() <-chan error { return s.served }

// Shutdown answers what has arrived, ends the connections and the loops. When ctx
// ends first, connections are closed at once and its error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.mux.Shutdown(ctx)
	select {
	case e := <-s.served:
		if err == nil && !errors.Is(e, mux.ErrClosed) {
			err = e
		}
	case <-ctx.Done():
	}
	return err
}

// ServerCounters are totals of a server.
type ServerCounters struct {
	Conns    uint64 // connections accepted
	Messages uint64 // answered
	Bytes    uint64 // received, with frame headers
	Turns    uint64 // of all loops
	Syscalls uint64 // of all loops: io_uring_enter, or epoll_wait and what it leads to
	Mallocs  uint64 // heap allocations of the whole process since the server began
}

// AllocsPerMessage returns heap allocations of the process per message.
func (c ServerCounters) AllocsPerMessage() float64 {
	return float64(c.Mallocs) / float64(max(c.Messages, 1))
}

// Counters returns the counters, also after Shutdown.
func (s *Server) Counters() ServerCounters {
	st := s.mux.Stats()
	c := ServerCounters{Conns: st.Opened, Messages: st.RxMessages, Bytes: st.RxBytes}
	for _, l := range s.Loops() {
		ls := l.Stats()
		c.Turns += ls.Turns
		c.Syscalls += ls.Syscalls
	}
	c.Mallocs = mallocs() - s.mallocs
	return c
}

// mallocs returns the number of heap objects allocated so far. It stops the world
// for some microseconds.
func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}
