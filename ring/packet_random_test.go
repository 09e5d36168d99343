//go:build linux

package ring

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
)

// packetWorld is a random run of two endpoints on a loop each and of a plain far end. Its
// book is the naive model: what was sent from where to where, in order.
type packetWorld struct {
	t     *testing.T
	sim   *ringtest.Sim
	nodes [2]*packetNode
	peer  *ringtest.PacketPeer
	names [3]netip.AddrPort // of the nodes and the far end

	sent    []sentPacket // by number
	last    [3][3]int    // the number that arrived last, by sender and receiver
	arrived int
}

type sentPacket struct {
	from, to int
	size     int
	got      int
}

type packetNode struct {
	w     *packetWorld
	index int
	l     *Loop
	p     *Packet
	kept  []*sgmsg.Message // with their numbers
	nums  []int
	full  bool
	over  bool
	done  bool
}

// content is what the datagram of that number holds: the number, then what follows from it.
func content(num, size int) []byte {
	b := random(uint64(num), size)
	binary.LittleEndian.PutUint32(b, uint32(num))
	return b
}

// check holds a datagram that has arrived against the book.
func (w *packetWorld) check(at int, from netip.AddrPort, b []byte) (num int) {
	w.t.Helper()
	if len(b) < 4 {
		w.t.Fatalf("%d bytes", len(b))
	}
	num = int(binary.LittleEndian.Uint32(b))
	if num >= len(w.sent) {
		w.t.Fatalf("datagram %d was never sent", num)
	}
	s := &w.sent[num]
	same(w.t, "datagram", b, content(num, s.size))
	if s.to != at || w.names[s.from] != from {
		w.t.Fatalf("datagram %d from %d to %d came to %d from %v", num, s.from, s.to, at, from)
	}
	if s.got++; s.got > 1 {
		w.t.Fatalf("datagram %d came twice", num)
	}
	if last := &w.last[s.from][at]; *last > num {
		w.t.Fatalf("datagram %d came behind %d", num, *last)
	} else {
		*last = num
	}
	w.arrived++
	return num
}

func (n *packetNode) Datagrams(p *Packet, d []Datagram) {
	w := n.w
	if n.over {
		w.t.Fatal("Datagrams after Closed")
	}
	for i := range d {
		num := w.check(n.index, d[i].From, d[i].Msg.AppendTo(nil))
		if d[i].Truncated {
			w.t.Fatal("truncated")
		}
		if w.sim.Rand().IntN(3) == 0 {
			n.kept = append(n.kept, d[i].Msg.Take())
			n.nums = append(n.nums, num)
		}
	}
}

func (n *packetNode) PacketError(p *Packet, e *PacketError) { n.w.t.Fatalf("error %v", e) }

func (n *packetNode) Sendable(p *Packet) {
	if !n.full {
		n.w.t.Fatal("Sendable, and nothing was refused")
	}
	n.full = false
}

func (n *packetNode) Closed(p *Packet, cause error) { n.over = true }

// act does something at random.
func (n *packetNode) act(most int) {
	w := n.w
	rng := w.sim.Rand()
	if k := len(n.kept); k > 0 && rng.IntN(4) == 0 {
		i := rng.IntN(k)
		num := n.nums[i]
		same(w.t, "kept datagram", n.kept[i].AppendTo(nil), content(num, w.sent[num].size))
		n.kept[i].Release()
		n.kept[i], n.nums[i] = n.kept[k-1], n.nums[k-1]
		n.kept, n.nums = n.kept[:k-1], n.nums[:k-1]
	}
	if rng.IntN(3) > 0 || n.done {
		return
	}
	to := rng.IntN(3)
	size := 4 + rng.IntN(600)
	for range rng.IntN(20) { // a run, sometimes broken
		if len(w.sent) >= most {
			return
		}
		switch rng.IntN(10) {
		case 0:
			size = 4 + rng.IntN(600)
		case 1:
			to = rng.IntN(3)
		}
		num := len(w.sent)
		m := message(w.t, n.l, content(num, size))
		err := n.p.SendTo(m, w.names[to])
		if err != nil {
			if !errors.Is(err, syscall.ENOBUFS) || !m.Live() || m.Len() != size {
				w.t.Fatalf("Send: %v", err)
			}
			m.Release()
			n.full = true
			return
		}
		w.sent = append(w.sent, sentPacket{from: n.index, to: to, size: size})
	}
}

func (w *packetWorld) actPeer(most int) {
	b := make([]byte, 1<<16)
	for {
		n, from, err := w.peer.ReadFrom(b)
		if err != nil {
			break
		}
		w.check(2, netip.MustParseAddrPort(from), b[:n])
	}
	for rng := w.sim.Rand(); rng.IntN(2) == 0 && len(w.sent) < most; {
		num, to, size := len(w.sent), rng.IntN(2), 4+rng.IntN(2000)
		w.sent = append(w.sent, sentPacket{from: 2, to: to, size: size})
		if err := w.peer.WriteTo(content(num, size), w.names[to].String()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// runPackets sends about most datagrams in all directions, then drains the endpoints.
func runPackets(t *testing.T, sim *ringtest.Sim, most int) *packetWorld {
	w := &packetWorld{t: t, sim: sim}
	for i, name := range []string{"10.0.0.1:7", "10.0.0.2:7", "10.0.0.3:7"} {
		w.names[i] = netip.MustParseAddrPort(name)
	}
	var err error
	if w.peer, err = sim.PacketPeer("10.0.0.3:7"); err != nil {
		t.Fatal(err)
	}
	var turns []func()
	for i := range w.nodes {
		n := &packetNode{w: w, index: i}
		w.nodes[i] = n
		o := wide(Auto)
		o.Buffers, o.SpillBytes = 4, 1<<20
		if n.l, err = NewWith(sim.Open, o); err != nil {
			t.Fatal(err)
		}
		fd, err := sim.Packet(w.names[i].String())
		if err != nil {
			t.Fatal(err)
		}
		if n.p, err = n.l.AttachPacket(fd, n, PacketOptions{QueueCount: 30}); err != nil {
			t.Fatal(err)
		}
		turns = append(turns, func() { n.l.Turn() }, func() { n.act(most) })
	}
	turns = append(turns, func() { w.actPeer(most) })
	idle := func() bool {
		return len(w.sent) >= most && w.nodes[0].p.out.n == 0 && w.nodes[1].p.out.n == 0
	}
	for i := 0; !idle(); i++ { // a step in which nobody did anything is none of the simulator's
		if i == 100_000 {
			t.Fatal("no end of steps")
		}
		sim.Step(turns...)
	}
	for range 10_000 { // until nothing is on its way any more
		if !sim.Step(turns...) && len(w.nodes[0].kept)+len(w.nodes[1].kept) == 0 {
			break
		}
	}
	for _, n := range w.nodes {
		n.done = true
		m := message(t, n.l, []byte{0})
		if err := n.p.SendTo(m, netip.MustParseAddrPort("10.0.0.9:1")); err != nil {
			t.Fatal(err)
		}
		n.p.Drain(nil)
	}
	if err := sim.Run(func() bool { return w.nodes[0].over && w.nodes[1].over }, turns...); err != nil {
		t.Fatal(err)
	}
	for _, n := range w.nodes {
		for _, m := range n.kept {
			m.Release()
		}
		if st := n.p.Stats(); st.Dropped != 0 || st.Queued != 0 {
			t.Errorf("%+v", st)
		}
		if err := n.l.Close(); err != nil {
			t.Fatal(err)
		}
		if st := n.l.Stats(); st.BuffersFree != st.Buffers || st.SpillUsed != 0 || st.Streams != 0 {
			t.Errorf("%d of %d buffers are free, %d bytes of private memory are in use, %d endpoints are left", st.BuffersFree, st.Buffers, st.SpillUsed, st.Streams)
		}
	}
	w.peer.Close()
	return w
}

// TestPacketRandom: whatever the back end does, each datagram comes at most once, whole,
// with its sender, in order for each pair; and all come if the network loses none.
func TestPacketRandom(t *testing.T) {
	seeds := 150
	if testing.Short() {
		seeds = 40
	}
	var joined, split, starved, refused, lost uint64
	for _, lossy := range []bool{false, true} {
		o := ringtest.Storm()
		o.PacketBytes = 1 << 20
		o.Odds[ringtest.DoublePacket], o.Odds[ringtest.OvertakePacket] = 0, 0
		if !lossy {
			o.Odds[ringtest.LosePacket] = 0
		}
		ringtest.Seeds(t, seeds, o, func(t *testing.T, sim *ringtest.Sim) {
			w := runPackets(t, sim, 300)
			for _, n := range w.nodes {
				st := n.p.Stats()
				joined += st.Joined
				split += st.Split
				starved += n.l.Stats().Starved
			}
			refused += uint64(sim.Hits(ringtest.RefuseSplit))
			lost += uint64(len(w.sent) - w.arrived)
			if !lossy && w.arrived != len(w.sent) {
				t.Errorf("%d of %d datagrams arrived", w.arrived, len(w.sent))
			}
		})
	}
	for what, n := range map[string]uint64{"joined datagrams": joined, "datagrams in one piece": split, "missing buffers": starved,
		"a refused piece": refused, "a lost datagram": lost} {
		if n == 0 {
			t.Errorf("%s: never seen", what)
		}
	}
}

// TestPacketReplay: a run follows from its seed.
func TestPacketReplay(t *testing.T) {
	for seed := range uint64(3) {
		var first uint64
		for i := range 2 {
			o := ringtest.Storm()
			o.Odds[ringtest.DoublePacket], o.Odds[ringtest.OvertakePacket] = 0, 0
			sim := ringtest.New(seed, o)
			runPackets(t, sim, 100)
			if i == 0 {
				first = sim.Hash()
			} else if sim.Hash() != first {
				t.Errorf("seed %d: two runs differ", seed)
			}
		}
	}
}
