//go:build linux

package ring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
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

	tickets []*fare // of the messages that had one
	out     *fare   // not settled
	inHand  int     // PushTickets that have not returned

	detaching, given bool
}

// fare is what a ticket told about its message.
type fare struct {
	sender       int
	seq          uint32
	accepted     int // -1: not told
	wire         int // bytes accepted by the back end when it told
	beforeReturn bool
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
	switch {
	case sender == 0:
		send = c.s.Send
	case c.n.rng.IntN(3) == 0:
		send = func(m *sgmsg.Message) error { return c.pushTicket(m, sender) }
	}
	c.inside[sender] = true
	c.next[sender]++
	err := send(m)
	c.inside[sender] = false
	if errors.Is(err, syscall.EBUSY) {
		c.next[sender]--
		m.Release()
		c.n.totals["busy"]++
		return
	}
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

// pushTicket is Push with a ticket.
func (c *crowd) pushTicket(m *sgmsg.Message, sender int) error {
	f := &fare{sender: sender, seq: c.next[sender] - 1, accepted: -1}
	size, busy := m.Len(), c.out != nil || c.inHand > 0
	c.inHand++
	defer func() { c.inHand-- }()
	returned := false
	told := func(n int) {
		if f.accepted >= 0 {
			c.t.Fatalf("stream %d: a ticket is settled twice", c.id)
		}
		f.accepted, f.wire = n, len(c.n.w.accepted[c.fd])
		f.beforeReturn = !returned
		if c.out == f {
			c.out = nil
		}
	}
	whole, err := c.s.PushTicket(m, &Ticket{Settled: told})
	returned = true
	switch {
	case err != nil:
		if f.accepted >= 0 {
			c.t.Fatalf("stream %d: a ticket of a message refused (%v) is settled", c.id, err)
		}
		if errors.Is(err, syscall.EBUSY) && !busy {
			c.t.Fatalf("stream %d: %v, without a ticket out", c.id, err)
		}
		return err
	case whole && f.accepted >= 0:
		c.t.Fatalf("stream %d: the ticket of a message accepted at once is settled", c.id)
	case whole:
		told(size)
		c.n.totals["ticket at once"]++
	case f.accepted < 0:
		c.out = f
	}
	c.tickets = append(c.tickets, f)
	return nil
}

// checkTickets holds what tickets told against what the back end accepted: bytes up to wire
// of all, whose messages end at ends.
func (c *crowd) checkTickets(all []byte, ends []int, wire int) {
	type id struct {
		sender int
		seq    uint32
	}
	where := map[id][2]int{}
	at := 0
	for _, end := range ends {
		where[id{int(all[at]), binary.BigEndian.Uint32(all[at+1:])}] = [2]int{at, end}
		at = end
	}
	for _, f := range c.tickets {
		w := where[id{f.sender, f.seq}]
		n := min(max(wire-w[0], 0), w[1]-w[0])
		if f.accepted != n {
			c.t.Fatalf("stream %d: message %d by %d: %d of its %d bytes were accepted, its ticket said %d", c.id, f.seq, f.sender, n, w[1]-w[0], f.accepted)
		}
		switch {
		case n == w[1]-w[0] && f.wire < w[1]:
			c.t.Fatalf("stream %d: message %d by %d was settled before it was accepted", c.id, f.seq, f.sender)
		case n < w[1]-w[0]:
			c.n.totals["ticket cut"]++
		case f.beforeReturn:
			c.n.totals["ticket before return"]++
		default:
			c.n.totals["ticket later"]++
		}
	}
}

// ticketed reports whether the message that starts with p had a ticket.
func (c *crowd) ticketed(p []byte) bool {
	for _, f := range c.tickets {
		if f.sender == int(p[0]) && f.seq == binary.BigEndian.Uint32(p[1:]) {
			return true
		}
	}
	return false
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
	if len(c.unsent)+s.Ticketed() != c.rest {
		c.t.Fatalf("stream %d: rest of %d bytes, %d unsent, %d with a ticket", c.id, c.rest, len(c.unsent), s.Ticketed())
	}
	if w := int(s.Written()); w != len(c.wire) {
		c.t.Fatalf("stream %d: Written %d, the back end accepted %d", c.id, w, len(c.wire))
	}
	if n := s.Pushed(); n != 0 {
		c.t.Fatalf("stream %d: %d bytes in the box of a closed stream", c.id, n)
	}
	all := s.out.AppendTo(bytes.Clone(c.wire))
	seen, ends := c.messages(all)
	if seen != c.next {
		c.t.Fatalf("stream %d: %d messages in the stream and unsent, %d sent", c.id, seen, c.next)
	}
	if c.out != nil {
		c.t.Fatalf("stream %d: a ticket is not settled", c.id)
	}
	c.checkTickets(all, ends, len(c.wire))
	var unsent []byte // what Unsent should have told, and where its messages end
	var want []int
	at := 0
	for _, end := range ends {
		if end > len(c.wire) && !c.ticketed(all[at:]) {
			unsent = append(unsent, all[max(at, len(c.wire)):end]...)
			want = append(want, len(c.wire)+len(unsent))
		}
		at = end
	}
	if !bytes.Equal(unsent, c.unsent) || !slices.Equal(want, c.ends) {
		c.t.Fatalf("stream %d: %d bytes unsent in messages that end at %v, want %d at %v", c.id, len(c.unsent), c.ends, len(unsent), want)
	}
	c.n.totals["unsent"] += len(want)
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
			now := c.n.rng.IntN(2) == 0
			detach := c.s.Detach
			if now {
				detach = c.s.DetachNow
			}
			detach(func(fd int, _ *sgmsg.Message, err error) {
				if c.given = err == nil; !c.given {
					return
				}
				if c.s.Queued() > 0 && !now || c.s.Pushed() > 0 {
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
		for _, what := range []string{"sent", "refused", "unsent", "given away", "during", "direct", "whole", "too much",
			"busy", "ticket at once", "ticket later", "ticket cut"} {
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
