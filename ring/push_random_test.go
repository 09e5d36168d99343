//go:build linux

package ring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
)

// wire notes which bytes the back end accepted, by descriptor.
type wire struct {
	backend.Backend
	accepted map[int][]byte
	flight   map[backend.Key][]byte
	fds      map[backend.Key]int
	during   func() // called before and after each Write's work
}

func flat(v []sgmsg.Element) (p []byte) {
	for _, e := range v {
		p = append(p, e.Bytes()...)
	}
	return p
}

func (w *wire) Send(k backend.Key, fd int, v []sgmsg.Element) {
	w.flight[k], w.fds[k] = flat(v), fd
	w.Backend.Send(k, fd, v)
}

func (w *wire) Write(fd int, v []sgmsg.Element) (int, syscall.Errno) {
	w.during()
	p := flat(v)
	n, e := w.Backend.Write(fd, v)
	w.accepted[fd] = append(w.accepted[fd], p[:n]...)
	w.during()
	return n, e
}

func (w *wire) Wait(ev []backend.Event, timeout time.Duration) (int, error) {
	n, err := w.Backend.Wait(ev, timeout)
	for i := range ev[:n] {
		if k := ev[i].Key; k.Op() == backend.OpSend && ev[i].Res > 0 {
			w.accepted[w.fds[k]] = append(w.accepted[w.fds[k]], w.flight[k][:ev[i].Res]...)
		}
	}
	return n, err
}

// crowd is a stream that its loop and several others send to. A message says who sent
// it and which of that sender's it is.
type crowd struct {
	*rec
	id     int
	n      *network
	fd     int
	peer   *ringtest.Peer
	next   [5]uint32 // by sender; 0 is the loop
	inside [5]bool   // in a Push
	got    []byte    // by the far end
	gone   bool      // the far end has closed
	wire   []byte    // when the stream was closed
	ends   []int     // of the messages unsent, counted in the stream
	unsent []byte

	detaching, given bool
}

type network struct {
	*bed
	rng    *rand.Rand
	w      *wire
	all    []*crowd
	depth  int  // Writes that are under way, one in the other
	inTurn bool // on the loop's thread, in a turn
	totals map[string]int
}

const crowdHeader = 9

func (c *crowd) message(sender int) *sgmsg.Message {
	n := crowdHeader + c.n.rng.IntN(1<<c.n.rng.IntN(12))
	p := make([]byte, n)
	p[0] = byte(sender)
	binary.BigEndian.PutUint32(p[1:], c.next[sender])
	binary.BigEndian.PutUint32(p[5:], uint32(n))
	for i := crowdHeader; i < n; i++ {
		p[i] = byte(i * (sender + 3) * int(c.next[sender]+1))
	}
	m := new(sgmsg.Message)
	for len(p) > 0 {
		k := 1 + c.n.rng.IntN(len(p))
		e, err := c.n.l.Alloc(k)
		if err != nil {
			m.Release()
			return nil
		}
		copy(e.Bytes(), p[:k])
		m.Append(e)
		p = p[k:]
	}
	return m
}

// give has one of the senders send one message.
func (c *crowd) give(sender int) {
	if c.inside[sender] || (c.s.Crowded() || c.closes > 0) && c.n.rng.IntN(30) > 0 {
		return
	}
	m := c.message(sender)
	if m == nil {
		return
	}
	send := c.s.Push
	if sender == 0 {
		send = c.s.Send
	}
	c.inside[sender] = true
	c.next[sender]++
	err := send(m)
	c.inside[sender] = false
	if err == nil {
		c.n.totals["sent"]++
		return
	}
	c.next[sender]--
	m.Release()
	if errors.Is(err, ErrClosed) != (c.s.state != open_ || c.detaching || c.s.box.Load().closed) && !isErrno(err, syscall.ENOBUFS) {
		c.t.Fatalf("stream %d: send by %d: %v", c.id, sender, err)
	}
	c.n.totals["refused"]++
}

// messages holds p against what was sent: whole messages, those of each sender in
// order. It returns how many of each are there and where they end.
func (c *crowd) messages(p []byte) (seen [5]uint32, ends []int) {
	c.t.Helper()
	for at := 0; at < len(p); {
		left := p[at:]
		if len(left) < crowdHeader {
			c.t.Fatalf("stream %d: %d bytes at its end are no message", c.id, len(left))
		}
		sender, seq, n := int(left[0]), binary.BigEndian.Uint32(left[1:]), int(binary.BigEndian.Uint32(left[5:]))
		if sender >= len(seen) || seq != seen[sender] || n < crowdHeader || n > len(left) {
			c.t.Fatalf("stream %d at byte %d: message %d of %d bytes by %d, want %d", c.id, at, seq, n, sender, seen[min(sender, 4)])
		}
		for i := crowdHeader; i < n; i++ {
			if left[i] != byte(i*(sender+3)*int(seq+1)) {
				c.t.Fatalf("stream %d: message %d by %d is torn at byte %d of %d", c.id, seq, sender, i, n)
			}
		}
		seen[sender]++
		at += n
		ends = append(ends, at)
	}
	return seen, ends
}

func (c *crowd) closed(s *Stream) {
	c.wire = c.n.w.accepted[c.fd]
	delete(c.n.w.accepted, c.fd) // the number may come again
	s.Unsent(func(part *sgmsg.Message) {
		c.unsent = part.AppendTo(c.unsent)
		c.ends = append(c.ends, len(c.wire)+len(c.unsent))
	})
	if len(c.unsent) != c.rest {
		c.t.Fatalf("stream %d: rest of %d bytes, %d unsent", c.id, c.rest, len(c.unsent))
	}
	if w := int(s.Written()); w != len(c.wire) {
		c.t.Fatalf("stream %d: Written %d, the back end accepted %d", c.id, w, len(c.wire))
	}
	if n := s.Pushed(); n != 0 {
		c.t.Fatalf("stream %d: %d bytes in the box of a closed stream", c.id, n)
	}
	seen, ends := c.messages(append(bytes.Clone(c.wire), c.unsent...))
	if seen != c.next {
		c.t.Fatalf("stream %d: %d messages in the stream and unsent, %d sent", c.id, seen, c.next)
	}
	for len(ends) > 0 && ends[0] <= len(c.wire) {
		ends = ends[1:]
	}
	if len(ends) != len(c.ends) {
		c.t.Fatalf("stream %d: %d messages unsent, want %d", c.id, len(c.ends), len(ends))
	}
	for i := range ends {
		if ends[i] != c.ends[i] {
			c.t.Fatalf("stream %d: unsent message %d ends at %d, want %d", c.id, i, c.ends[i], ends[i])
		}
	}
	c.n.totals["unsent"] += len(ends)
}

// far moves the far end.
func (c *crowd) far() {
	if c.gone {
		return
	}
	p := make([]byte, 1+c.n.rng.IntN(1<<c.n.rng.IntN(14)))
	n, err := c.peer.Read(p)
	c.got = append(c.got, p[:n]...)
	if err == nil || err == syscall.EAGAIN {
		switch c.n.rng.IntN(3000) {
		case 0:
			c.peer.Reset()
		case 1:
			c.peer.Close()
		default:
			return
		}
		err = io.EOF
	}
	c.peer.Close()
	c.gone = true
}

// act does what the loop does.
func (c *crowd) act() {
	if c.closes > 0 {
		return
	}
	switch c.n.rng.IntN(8) {
	case 0, 1, 2:
		c.give(0)
	case 3:
		switch c.n.rng.IntN(150) {
		case 0:
			c.s.Close(errOurs)
		case 1:
			c.s.Drain(errOurs)
		case 2:
			if c.detaching || c.s.state != open_ {
				return
			}
			c.detaching = true
			c.s.Detach(func(fd int, _ *sgmsg.Message, err error) {
				if c.given = err == nil; !c.given {
					return
				}
				if c.s.Queued() > 0 || c.s.Pushed() > 0 {
					c.t.Fatalf("stream %d: given away with %d bytes queued", c.id, c.s.Queued())
				}
				c.n.totals["given away"]++
				c.n.l.Discard(fd)
			})
		}
	}
}

func (n *network) turn() {
	if n.inTurn {
		return
	}
	n.inTurn = true
	n.bed.turn()
	n.inTurn = false
}

// during is what others do while a guest is in its system call.
func (n *network) during() {
	if n.depth >= 2 {
		return
	}
	n.depth++
	for range n.rng.IntN(4) {
		n.totals["during"]++
		n.anything()
	}
	n.depth--
}

func (n *network) anything() {
	c := n.all[n.rng.IntN(len(n.all))]
	switch n.rng.IntN(6) {
	case 0:
		c.act()
	case 1:
		n.turn()
	default:
		c.give(1 + n.rng.IntN(4))
	}
}

func TestRandomPushes(t *testing.T) {
	o := ringtest.Storm()
	totals := map[string]int{}
	seeds := *ringSeeds
	if invariants.Race { // the detector finds little on one goroutine and takes its time
		seeds = (seeds + 3) / 4
	}
	ringtest.Seeds(t, seeds, o, func(t *testing.T, sim *ringtest.Sim) { crowded(t, sim, totals) })
	if seeds >= 50 {
		for _, what := range []string{"sent", "refused", "unsent", "given away", "during", "direct", "whole", "too much"} {
			if totals[what] == 0 {
				t.Errorf("%s: never; seen %v", what, totals)
			}
		}
	}
	t.Logf("%v", totals)
}

func crowded(t *testing.T, sim *ringtest.Sim, totals map[string]int) {
	rng := sim.Rand()
	n := &network{rng: rng, totals: totals}
	b := &bed{t: t, sim: sim}
	o := small()
	o.SendHard = 10 << 10
	l, err := NewWith(func(cfg backend.Config) (backend.Backend, error) {
		inner, err := sim.Open(cfg)
		n.w = &wire{Backend: inner, accepted: map[int][]byte{}, flight: map[backend.Key][]byte{}, fds: map[backend.Key]int{}, during: n.during}
		b.spy = &spy{Backend: n.w, t: t, attached: map[int]bool{}}
		return b.spy, err
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	b.l, n.bed = l, b
	t.Cleanup(b.finish)
	for i := range 1 + rng.IntN(4) {
		c := &crowd{id: i, n: n}
		c.rec = &rec{t: t, onClosed: c.closed}
		c.fd, c.peer = sim.Pair()
		s, err := l.Attach(c.fd, c.rec)
		if err != nil {
			t.Fatal(err)
		}
		s.KeepBoundaries()
		c.s = s
		n.all = append(n.all, c)
	}
	turns := []func(){n.turn}
	for _, c := range n.all {
		turns = append(turns, c.far, c.act)
	}
	for range 4 {
		turns = append(turns, func() {
			if !n.inTurn {
				n.anything()
			}
		})
	}
	for range 300 + rng.IntN(700) {
		sim.Step(turns...)
	}
	// The end: what is on its way arrives, unless the connection died.
	turns = []func(){n.turn}
	for _, c := range n.all {
		l.Post(func() { c.s.Drain(nil) })
		turns = append(turns, func() {
			if !c.gone {
				var p [8 << 10]byte
				k, err := c.peer.Read(p[:])
				c.got = append(c.got, p[:k]...)
				if err != nil && err != syscall.EAGAIN {
					c.peer.Close()
					c.gone = true
				}
			}
		})
	}
	if err := sim.Run(func() bool {
		for _, c := range n.all {
			if c.closes == 0 {
				return false
			}
		}
		return true
	}, turns...); err != nil {
		for _, c := range n.all {
			t.Logf("stream %d: state %d, operations %b, lists %b, away %v, sealed %v, queued %d, pushed %d", c.id,
				c.s.state, c.s.ops, c.s.member, c.s.away, c.s.sealed, c.s.Queued(), c.s.Pushed())
		}
		t.Fatal(err)
	}
	for _, c := range n.all {
		if !bytes.HasPrefix(c.wire, c.got) {
			t.Fatalf("stream %d: the far end has %d bytes that are no prefix of the %d accepted", c.id, len(c.got), len(c.wire))
		}
		if len(c.unsent) == 0 && len(c.got) == len(c.wire) && len(c.wire) > 0 {
			totals["whole"]++
		}
		if isErrno(c.cause, syscall.ENOBUFS) {
			totals["too much"]++
		}
	}
	totals["direct"] += int(l.Stats().Direct)
	b.close()
	b.balanced()
}
