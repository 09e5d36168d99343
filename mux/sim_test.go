//go:build linux

package mux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

var simSeeds = flag.Int("simseeds", simSeedsDefault, "seeds of the simulated network to run")

// simClient is the far end of one connection: it sends numbered messages cut
// anywhere, reads replies when it feels like it, and checks them.
type simClient struct {
	t       *testing.T
	sim     *ringtest.Sim
	id      int
	peer    *ringtest.Peer
	rng     *rand.Rand
	lazy    bool // reads seldom
	resting bool
	tear    bool // goes away in the middle
	patient bool // finishes only when every reply is there

	todo   int    // messages not yet built
	out    []byte // built and not yet written
	sent   int    // messages built
	in     []byte
	echoed int
	dead   bool // the connection failed, or the client ended it
	closed bool // the client has finished its side
	eof    bool

	handled int // by the server
	lost    int // reported by OnLost
}

const simHead = 4 + 8 // length prefix, connection and number

// simMessage builds message n of connection id: its size and content follow from
// the two.
func simMessage(id, n int) []byte {
	rng := rand.New(rand.NewPCG(uint64(id), uint64(n)))
	size := rng.IntN(200)
	switch rng.IntN(12) {
	case 0:
		size = rng.IntN(4 << 10)
	case 1:
		size = rng.IntN(24 << 10)
	}
	b := make([]byte, simHead+size)
	binary.BigEndian.PutUint32(b, uint32(8+size))
	binary.BigEndian.PutUint32(b[4:], uint32(id))
	binary.BigEndian.PutUint32(b[8:], uint32(n))
	for i := simHead; i < len(b); i++ {
		b[i] = byte(i*7 + id + n)
	}
	return b
}

func (c *simClient) finished() bool {
	return c.dead || c.eof
}

func (c *simClient) turn() {
	if c.dead {
		return
	}
	if len(c.out) == 0 && c.todo > 0 {
		for range 1 + c.rng.IntN(4) {
			if c.todo > 0 {
				c.out = append(c.out, simMessage(c.id, c.sent)...)
				c.sent++
				c.todo--
			}
		}
	}
	if c.tear && c.rng.IntN(100) == 0 {
		if c.rng.IntN(2) == 0 {
			c.peer.Reset()
		} else {
			c.peer.Close()
		}
		c.dead = true
		return
	}
	if len(c.out) > 0 {
		n, err := c.peer.Write(c.out[:1+c.rng.IntN(len(c.out))])
		c.out = c.out[n:]
		c.check(err)
	} else if c.todo == 0 && !c.closed && !c.dead && (!c.patient || c.echoed == c.sent) {
		c.closed = true
		c.check(c.peer.CloseWrite())
	}
	if c.lazy {
		if !c.resting { // come back some time later
			c.resting = true
			c.sim.After(time.Duration(c.rng.IntN(5_000))*time.Microsecond, func() { c.resting = false; c.read() })
		}
		return
	}
	c.read()
}

func (c *simClient) check(err error) {
	if err != nil && !errors.Is(err, syscall.EAGAIN) {
		c.dead = true
		c.peer.Close()
	}
}

func (c *simClient) read() {
	if c.finished() {
		return
	}
	buf := make([]byte, 1+c.rng.IntN(16<<10))
	n, err := c.peer.Read(buf)
	c.in = append(c.in, buf[:n]...)
	for len(c.in) >= simHead {
		want := simMessage(c.id, c.echoed)
		if len(c.in) < len(want) {
			if !bytes.HasPrefix(want, c.in) {
				c.t.Fatalf("connection %d: reply %d begins with other bytes", c.id, c.echoed)
			}
			break
		}
		if !bytes.Equal(c.in[:len(want)], want) {
			c.t.Fatalf("connection %d: reply %d is not what was sent", c.id, c.echoed)
		}
		c.in = c.in[len(want):]
		c.echoed++
	}
	if err == io.EOF {
		c.eof = true
		c.peer.Close()
		return
	}
	c.check(err)
}

func simRing() ring.Options {
	return ring.Options{
		Buffers: 16, BufferSize: 1 << 10, RegionBytes: 96 << 10, LargeBytes: 3 << 10,
		SpillBytes: 8 << 20, Credit: 2 << 10, SendSoft: 8 << 10, SendHard: 4 << 20,
	}
}

// Random traffic over a hostile network on two loops: each message is handled
// once and in order, each reply arrives once and in order or its loss shows, and
// every buffer comes back.
func TestSimulatorDeliversEachMessageOnceOrReportsIt(t *testing.T) {
	o := ringtest.Storm()
	o.Swarm = true
	ringtest.Seeds(t, *simSeeds, o, func(t *testing.T, s *ringtest.Sim) { simulate(t, s) })
}

func simulate(t *testing.T, s *ringtest.Sim) {
	rng := s.Rand()
	var loops []*ring.Loop
	for range 1 + rng.IntN(2) {
		l, err := ring.NewWith(s.Open, simRing())
		if err != nil {
			t.Fatal(err)
		}
		loops = append(loops, l)
	}
	var clients []*simClient
	opened, ended := 0, 0
	m, err := New(Options{
		Format: strparser.Length32, MaxMessage: 32 << 10, On: loops, AssemblyTimeout: -1,
		OnOpen:  func(*Psock) { opened++ },
		OnClose: func(*Psock, error) { ended++ },
		OnLost: func(to *Psock, msg *sgmsg.Message, err error) {
			if msg.Len() == 0 {
				t.Errorf("connection %d: lost a message of no bytes", to.Index())
			}
			to.Value().(*simClient).lost++
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Handle(func(from *Psock, msg *sgmsg.Message) Verdict {
		c := from.Value().(*simClient)
		if want := simMessage(c.id, c.handled); !bytes.Equal(msg.AppendTo(nil), want) {
			t.Fatalf("connection %d: message %d is not what was sent", c.id, c.handled)
		}
		c.handled++
		to := from
		if c.id&1 == 1 { // a proxy: by way of a taken message
			to.Send(msg.Take())
			return Done
		}
		to.Send(msg)
		return Done
	})
	turns := []func(){}
	for _, l := range loops {
		turns = append(turns, func() { l.Turn() })
	}
	for i := range 2 + rng.IntN(6) {
		fd, peer := s.Pair()
		c := &simClient{
			t: t, sim: s, id: i, peer: peer, rng: rng, todo: 1 + rng.IntN(40),
			lazy: rng.IntN(4) == 0, tear: rng.IntN(4) == 0, patient: rng.IntN(2) == 0,
		}
		clients = append(clients, c)
		p, err := m.adopt(m.shards[i%len(m.shards)], fd, 0)
		if err != nil {
			t.Fatal(err)
		}
		p.SetValue(c)
		turns = append(turns, c.turn)
	}
	done := func() bool {
		for _, c := range clients {
			if !c.finished() {
				return false
			}
		}
		return m.Psocks() == 0
	}
	if err := s.Run(done, turns...); err != nil {
		for _, c := range clients {
			t.Logf("client %d: sent %d, todo %d, out %d, handled %d, echoed %d, lost %d, dead %v closed %v eof %v lazy %v patient %v",
				c.id, c.sent, c.todo, len(c.out), c.handled, c.echoed, c.lost, c.dead, c.closed, c.eof, c.lazy, c.patient)
		}
		t.Fatal(err)
	}
	for _, c := range clients {
		if c.echoed+c.lost > c.handled || c.handled > c.sent {
			t.Errorf("connection %d: sent %d, handled %d, replies %d, reported lost %d", c.id, c.sent, c.handled, c.echoed, c.lost)
		}
		if !c.dead && (c.echoed != c.sent || len(c.in) > 0) {
			t.Errorf("connection %d ended in order with %d replies to %d messages", c.id, c.echoed, c.sent)
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	for i, l := range loops {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		st := l.Stats()
		if st.BuffersFree != st.Buffers || st.RegionUsed != 0 || st.SpillUsed != 0 || st.Streams != 0 {
			t.Errorf("loop %d: %d of %d buffers free, region %d, private memory %d bytes in use, %d streams",
				i, st.BuffersFree, st.Buffers, st.RegionUsed, st.SpillUsed, st.Streams)
		}
	}
}
