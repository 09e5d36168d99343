//go:build linux

package mux

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// sendWorld is a Mux whose sockets send over connections that come and go, and a model of
// what they may do: a message is the number of its socket and its own.
type sendWorld struct {
	t     *testing.T
	sim   *ringtest.Sim
	rng   *rand.Rand
	loops []*ring.Loop
	m     *Mux

	sockets []*sendSocket
	lowers  []*sendLower
	totals  map[string]int
}

type sendSocket struct {
	s      *Socket
	id     int
	queued uint32 // messages
	open   []byte // what is missing of the message that is not ended
	done   uint32 // the next to be accepted as a whole
	gone   bool
}

type sendLower struct {
	w    *sendWorld
	p    *Psock
	peer *ringtest.Peer
	got  []byte // accepted and not yet made out
	dead bool   // the peer has gone
	end  bool   // OnClose was called
}

const sendHead = 4 + 8

// body makes byte i of a message.
func sendByte(id int, seq uint32, i int) byte { return byte(i*7 + id*31 + int(seq)*13) }

func (w *sendWorld) message(id int, seq uint32) []byte {
	size := w.rng.IntN(1 << (2 + w.rng.IntN(13)))
	b := make([]byte, sendHead+size)
	binary.BigEndian.PutUint32(b, uint32(8+size))
	binary.BigEndian.PutUint32(b[4:], uint32(id))
	binary.BigEndian.PutUint32(b[8:], seq)
	for i := sendHead; i < len(b); i++ {
		b[i] = sendByte(id, seq, i)
	}
	return b
}

// accept is the tap: bytes that the lower took.
func (l *sendLower) accept(b []byte) {
	t := l.w.t
	l.got = append(l.got, b...)
	for len(l.got) >= sendHead {
		n := 4 + int(binary.BigEndian.Uint32(l.got))
		id, seq := int(binary.BigEndian.Uint32(l.got[4:])), binary.BigEndian.Uint32(l.got[8:])
		if id == notOurs && n < 1<<20 {
			if len(l.got) < n {
				return
			}
			l.got = l.got[n:]
			continue
		}
		if id >= len(l.w.sockets) || n > 1<<20 {
			t.Fatalf("a lower was sent what is no message")
		}
		s := l.w.sockets[id]
		if seq < s.done || seq >= s.queued+1 {
			t.Fatalf("socket %d: message %d is sent, %d are done, %d queued", id, seq, s.done, s.queued)
		}
		if len(l.got) < n {
			return
		}
		for i := sendHead; i < n; i++ {
			if l.got[i] != sendByte(id, seq, i) {
				t.Fatalf("socket %d: message %d has a wrong byte %d", id, seq, i)
			}
		}
		if seq != s.done {
			t.Fatalf("socket %d: message %d is done before %d", id, seq, s.done)
		}
		s.done++
		l.got = l.got[n:]
		l.w.totals["sent"]++
	}
}

func (w *sendWorld) open() {
	o := SocketOptions{Type: SocketType(w.rng.IntN(2)), SendBytes: 1 << w.rng.IntN(16)}
	s, err := w.m.OpenSocket(o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.sockets = append(w.sockets, &sendSocket{s: s, id: len(w.sockets)})
}

func (w *sendWorld) attach() {
	fd, peer := w.sim.Pair()
	l := &sendLower{w: w, peer: peer}
	peer.Tap(l.accept)
	if w.rng.IntN(3) == 0 {
		peer.SetReadBuffer(1 + w.rng.IntN(4000))
	}
	p, err := w.m.adopt(w.m.shards[w.rng.IntN(len(w.m.shards))], fd, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	p.SetValue(l)
	p.offer()
	l.p = p
	w.lowers = append(w.lowers, l)
}

// send sends a message of a socket, or a part of one.
func (w *sendWorld) send(s *sendSocket) {
	whole := s.open
	if len(whole) == 0 {
		whole = w.message(s.id, s.queued)
	}
	part, f, end := whole, Flags(0), true
	if w.rng.IntN(4) == 0 {
		part, end = whole[:w.rng.IntN(len(whole))], false
	}
	if s.s.Type() == Seqpacket && end {
		f |= EOR
	} else if s.s.Type() == Dgram && !end {
		f |= More
	}
	if w.rng.IntN(5) == 0 {
		f |= Batch
	}
	f |= DontWait
	var n int
	var err error
	if w.rng.IntN(3) == 0 {
		n, err = s.s.SendMsg(nil, part, f)
	} else {
		var msg sgmsg.Message
		if msg.AppendCopy(w.loops[0], part, 0) != nil {
			return
		}
		n = len(part)
		if f&^DontWait == 0 && s.s.Type() == Dgram {
			err = s.s.TrySend(&msg)
		} else {
			err = s.s.SendFlags(nil, &msg, f)
		}
		if err != nil {
			msg.Release()
		}
	}
	switch {
	case errors.Is(err, syscall.EAGAIN):
		if len(s.open) > 0 {
			w.t.Fatalf("socket %d: EAGAIN inside a message", s.id)
		}
		w.totals["full"]++
		return
	case errors.Is(err, syscall.ENOMEM):
		if s.s.Type() == Dgram {
			s.open = nil
		}
		w.totals["no memory"]++
		return
	case err != nil:
		w.t.Fatalf("socket %d: %v", s.id, err)
	case n < len(part):
		w.t.Fatalf("socket %d: took %d of %d bytes", s.id, n, len(part))
	}
	switch {
	case !end:
		s.open = whole[n:]
		if s.s.out.open.Len() == 0 {
			s.open = nil // nothing was begun
		}
	default:
		s.open = nil
		s.queued++
	}
}

func (w *sendWorld) act() {
	if len(w.sockets) == 0 {
		w.open()
		return
	}
	s := w.sockets[w.rng.IntN(len(w.sockets))]
	var l *sendLower
	if len(w.lowers) > 0 {
		l = w.lowers[w.rng.IntN(len(w.lowers))]
	}
	switch k := w.rng.IntN(400); {
	case k < 4:
		if len(w.sockets) < 12 {
			w.open()
		}
	case k < 6:
		if !s.gone {
			w.close(s)
		}
	case k < 12:
		if len(w.lowers) < 12 {
			w.attach()
		}
	case l == nil:
	case k == 12:
		l.p.Close()
	case k == 13:
		l.p.Drain()
	case k == 14:
		l.peer.Reset()
		l.dead = true
	case k == 15:
		l.peer.CloseWrite()
	case k == 16:
		l.peer.Close()
		l.dead = true
	case k < 40: // somebody else's message
		if l.p.State() == Open && !l.p.crowded() {
			w.direct(l)
		}
	case k < 200:
		if !s.gone {
			w.send(s)
		}
	default:
		w.read(l)
	}
	w.check()
}

// notOurs is the number of the sockets that are none: of messages sent on a connection by hand.
const notOurs = 1 << 20

// direct sends on the connection by hand.
func (w *sendWorld) direct(l *sendLower) {
	var msg sgmsg.Message
	if msg.AppendCopy(w.loops[0], w.message(notOurs, 0), 0) == nil {
		l.p.Send(&msg)
		w.totals["by hand"]++
	}
}

func (w *sendWorld) close(s *sendSocket) {
	s.s.Close()
	s.gone = true
	w.totals["closed"]++
}

func (w *sendWorld) read(l *sendLower) {
	if l.dead {
		return
	}
	b := make([]byte, 1+w.rng.IntN(1<<w.rng.IntN(15)))
	if _, err := l.peer.Read(b); err != nil && err != syscall.EAGAIN {
		l.peer.Close()
		l.dead = true
	}
}

func (w *sendWorld) check() {
	tx := w.m.tx
	tx.lock()
	v := tx.violation()
	var queued, messages, discarded uint64
	for _, s := range w.sockets {
		o := &s.s.out
		queued += uint64(o.waiting())
		messages += o.stats.messages
		discarded += o.stats.discarded
	}
	st := tx.stats
	tx.unlock()
	if v != "" {
		w.t.Fatal(v)
	}
	if messages != st.messages+queued+discarded || discarded != st.discarded {
		w.t.Fatalf("%d messages were queued; %d sent, %d queued, %d discarded", messages, st.messages, queued, discarded)
	}
}

// Sockets whose messages leave over connections that die at any moment: a message is taken
// whole by one connection at most, those of a socket in order, and none is lost as long as
// its socket is open. Proves I1, I2, I3, I4, I7, I8, I16,
// I17.
func TestSimulatorSendsEachMessageOnce(t *testing.T) {
	o := ringtest.Storm()
	o.Swarm = true
	totals := map[string]int{}
	seeds := *simSeeds
	ringtest.Seeds(t, seeds, o, func(t *testing.T, s *ringtest.Sim) { sendAround(t, s, totals) })
	t.Log(totals)
	if seeds >= 100 && !invariants.Race {
		for _, what := range []string{"sent", "full", "closed", "retries", "discarded", "several"} {
			if totals[what] == 0 {
				t.Errorf("%s: never", what)
			}
		}
	}
}

func sendAround(t *testing.T, sim *ringtest.Sim, totals map[string]int) {
	w := &sendWorld{t: t, sim: sim, rng: sim.Rand(), totals: totals}
	for range 1 + w.rng.IntN(2) {
		l, err := ring.NewWith(sim.Open, simRing())
		if err != nil {
			t.Fatal(err)
		}
		w.loops = append(w.loops, l)
	}
	var err error
	if w.m, err = New(Options{
		Format: strparser.Length32, MaxMessage: 32 << 10, On: w.loops, AssemblyTimeout: -1,
		OnClose: func(p *Psock, _ error) { p.Value().(*sendLower).end = true },
		OnLost: func(_ *Psock, msg *sgmsg.Message, err error) {
			if totals["by hand"] == 0 {
				t.Errorf("lost a message of %d bytes: %v", msg.Len(), err)
			}
			totals["lost"]++
		},
	}); err != nil {
		t.Fatal(err)
	}
	var turns []func()
	for _, l := range w.loops {
		turns = append(turns, func() { l.Turn() })
	}
	for range 300 + w.rng.IntN(900) {
		sim.Step(append(turns, w.act, w.act, w.act)...)
	}
	// All that was queued leaves in the end, if there are connections.
	for _, s := range w.sockets {
		if !s.gone {
			end := More
			if s.s.Type() == Seqpacket {
				end = EOR
			}
			if len(s.open) == 0 {
				end = EOR // flushes a batch
			} else if s.s.Type() == Dgram {
				end = 0
			}
			var msg sgmsg.Message
			for msg.AppendCopy(w.loops[0], s.open, 0) != nil {
				sim.Step(turns...)
			}
			if len(s.open) > 0 {
				s.queued++
			}
			if err := s.s.SendFlags(nil, &msg, end|DontWait); err != nil {
				t.Fatal(err)
			}
		}
	}
	done := func() bool {
		open := 0
		for _, s := range w.sockets {
			if !s.gone && s.done < s.queued {
				open++
			}
		}
		return open == 0
	}
	for range 200 {
		if done() {
			break
		}
		w.attach()
		w.lowers[len(w.lowers)-1].peer.SetReadBuffer(64 << 10)
		for range 300 {
			sim.Step(append(turns, func() {
				for _, l := range w.lowers {
					w.read(l)
				}
			})...)
		}
		w.check()
	}
	for _, s := range w.sockets {
		if !s.gone && s.done != s.queued {
			t.Fatalf("socket %d: %d messages queued, %d sent; %d unsent bytes, a connection: %v, waits: %v", s.id, s.queued, s.done, s.s.out.unsent, s.s.out.psock != nil, s.s.out.waits)
		}
	}
	st := w.m.tx.stats
	totals["retries"] += int(st.retries)
	totals["discarded"] += int(st.discarded)
	if st.messages > st.reserved {
		totals["several"]++
	}
	// A message was cut only at the end of a connection that died.
	for _, l := range w.lowers {
		if len(l.got) > 0 && l.p.State() == Open && l.p.stream.Queued()+l.p.stream.Pushed() == 0 {
			t.Errorf("connection %d is open with half a message and nothing to send", l.p.Index())
		}
	}
	if err := w.m.Close(); err != nil {
		t.Error(err)
	}
	if err := sim.Run(func() bool { return w.m.Psocks() == 0 }, turns...); err != nil {
		t.Fatal(err)
	}
	w.check()
	if n := slices.IndexFunc(w.sockets, func(s *sendSocket) bool { return s.s.out.waiting() > 0 || s.s.out.unsent != 0 }); n >= 0 {
		t.Errorf("socket %d keeps messages after the end", n)
	}
	for i, l := range w.loops {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		st := l.Stats()
		if st.BuffersFree != st.Buffers || st.SpillUsed != 0 || st.Streams != 0 {
			t.Errorf("loop %d: %d of %d buffers free, private memory %d bytes in use, %d streams", i, st.BuffersFree, st.Buffers, st.SpillUsed, st.Streams)
		}
	}
}
