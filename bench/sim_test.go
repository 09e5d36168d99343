//go:build linux

package bench

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/ring/ringtest"
)

// simServer is a server in virtual time. It takes exactly as long as each message says,
// on a number of workers, first come, first served; 0 workers work on everything at once.
// From stop on it does nothing for a while.
type simServer struct {
	t       *testing.T
	sim     *ringtest.Sim
	works   bool            // messages carry work
	free    []time.Duration // when each worker has nothing left to do
	stop    time.Duration   // 0: never
	stopped time.Duration   // for how long
	peers   []*simPeer
}

type simPeer struct {
	peer *ringtest.Peer
	in   []byte
	done bool
}

// work returns when work that may begin at a time is done.
func (s *simServer) work(begin, d time.Duration) time.Duration {
	back := s.stop + s.stopped
	if s.stopped > 0 && begin >= s.stop && begin < back {
		begin = back
	}
	end := begin + d
	if s.stopped > 0 && begin < s.stop && end > s.stop {
		end += s.stopped
	}
	return end
}

func (s *simServer) turn() {
	now := s.sim.Now()
	buf := make([]byte, 64<<10)
	for _, p := range s.peers {
		for !p.done {
			n, err := p.peer.Read(buf)
			p.in = append(p.in, buf[:n]...)
			if err == io.EOF {
				p.done = true
				p.peer.Close()
			}
			if err != nil {
				break
			}
		}
		for len(p.in) >= lengthBytes {
			size := lengthBytes + int(binary.BigEndian.Uint32(p.in))
			if len(p.in) < size {
				break
			}
			frame := slices.Clone(p.in[:size])
			p.in = p.in[size:]
			d := time.Duration(0)
			if s.works {
				d = time.Duration(binary.BigEndian.Uint32(frame[lengthBytes:])) * time.Microsecond
			}
			end := s.work(now, d)
			if len(s.free) > 0 {
				i := slices.Index(s.free, slices.Min(s.free))
				end = s.work(max(now, s.free[i]), d)
				s.free[i] = end
			}
			s.sim.After(end-now, func() {
				if n, err := p.peer.Write(frame); n < len(frame) && !p.done {
					s.t.Errorf("a reply of %d bytes: %d written, %v", len(frame), n, err)
				}
			})
		}
	}
}

// simulated is a run of a generator of one thread against a server in virtual time, with
// workers, that stops from a time after the beginning on. Messages take a nanosecond to
// get there.
func simulated(t *testing.T, w Workload, workers int, stop, stopped time.Duration, change ...func(*generator)) (*run, *Report) {
	t.Helper()
	if err := w.Check(); err != nil {
		t.Fatal(err)
	}
	sim := ringtest.New(1, ringtest.Options{Latency: 1, StreamBytes: 64 << 20})
	var turns []func()
	open := func(o ring.Options) (*ring.Loop, error) {
		l, err := ring.NewWith(sim.Open, o)
		if err == nil {
			turns = append(turns, func() { l.Turn() })
		}
		return l, err
	}
	s := &simServer{t: t, sim: sim, works: w.works(), free: make([]time.Duration, workers), stopped: stopped}
	far, err := open(ring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fd, err := sim.Listen("127.0.0.1:7")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := far.Listen(fd, func(fd int) { s.peers = append(s.peers, &simPeer{peer: sim.Take(fd)}) }, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	turns = append(turns, s.turn)

	r := &run{Config: Config{Workload: w, Threads: 1, Record: true, MaxLateness: DefaultMaxLateness}, running: 1, ended: make(chan *generator, 1)}
	g, err := newGenerator(&r.Workload, 0, 1, ring.Options{}, r.ended, open)
	if err != nil {
		t.Fatal(err)
	}
	r.threads = []*generator{g}
	g.maxLateness, g.recorder = r.MaxLateness, newRecorder(&r.Workload, w.Conns)
	for _, fn := range change {
		fn(g)
	}
	g.target, g.dialled = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7}, true
	for i := range g.conns {
		g.connect(&g.conns[i], sim.Now())
	}
	if err := sim.Run(func() bool { return !slices.ContainsFunc(g.conns, func(c conn) bool { return !c.stands }) }, turns...); err != nil {
		t.Fatal(err)
	}
	if g.connects != nil {
		g.connects.Reset() // these are not made anew
	}
	start := sim.Now() + time.Millisecond
	s.stop = start + stop
	g.begin(start)
	for !g.ended {
		if !sim.Step(turns...) || sim.Now() > start+w.Warmup+w.Duration+time.Minute {
			g.finish(nil)
		}
	}
	r.figures = newCollector(&r.Workload, 1, nil)
	r.figures.end(g)
	rep := r.report()
	if rep.Errors != 0 || g.failure != nil {
		t.Fatalf("%d errors, %v, %s", rep.Errors, g.failure, g.mismatch)
	}
	ln.Close()
	g.ended = true
	if err := g.mux.Close(); err != nil {
		t.Error(err)
	}
	g.out.Reset()
	g.pattern.Buf.Release()
	for _, l := range []*ring.Loop{far, g.loop} {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	return r, rep
}
