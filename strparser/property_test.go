//go:build linux

package strparser_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// framing is a format together with a second opinion: the same rule on flat
// bytes, where b is everything from the message's first byte on. errno is not 0
// when the format itself refuses.
type framing struct {
	name   string
	format strparser.Format
	naive  func(b []byte) (n int, errno syscall.Errno)
	make   func(body []byte) []byte
}

var framings = []framing{
	{"length32", strparser.Length32,
		func(b []byte) (int, syscall.Errno) {
			if len(b) < 4 {
				return 0, 0
			}
			return int(binary.BigEndian.Uint32(b)) + 4, 0
		},
		func(body []byte) []byte {
			return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
		},
	},
	{"length16 little, inclusive, at 3",
		strparser.Length{Width: 2, Order: binary.LittleEndian, Offset: 3, Inclusive: true},
		func(b []byte) (int, syscall.Errno) {
			if len(b) < 5 {
				return 0, 0
			}
			n := int(binary.LittleEndian.Uint16(b[3:]))
			if n < 5 {
				return 0, syscall.EPROTO
			}
			return n, 0
		},
		func(body []byte) []byte {
			return append(binary.LittleEndian.AppendUint16([]byte("abc"), uint16(len(body)+5)), body...)
		},
	},
	{"length24 with a long header",
		strparser.Length{Width: 3, Offset: 37, Adjust: 2},
		func(b []byte) (int, syscall.Errno) {
			if len(b) < 40 {
				return 0, 0
			}
			return int(b[37])<<16 + int(b[38])<<8 + int(b[39]) + 42, 0
		},
		func(body []byte) []byte {
			n := len(body)
			b := append(bytes.Repeat([]byte{'h'}, 37), byte(n>>16), byte(n>>8), byte(n))
			return append(append(b, body...), "!!"...)
		},
	},
	{"lines", strparser.ParseFunc(parseLine),
		func(b []byte) (int, syscall.Errno) { return bytes.IndexByte(b, '\n') + 1, 0 },
		func(body []byte) []byte {
			return append(bytes.ReplaceAll(body, []byte{'\n'}, []byte{'x'}), '\n')
		},
	},
	{"varint", strparser.ParseFunc(parseVarint),
		func(b []byte) (int, syscall.Errno) {
			n, k := binary.Uvarint(b)
			switch {
			case k == 0:
				return 0, 0
			case k < 0 || n > 1<<30:
				return 0, syscall.EBADMSG
			}
			return k + int(n), 0
		},
		func(body []byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(body))), body...) },
	},
}

func parseVarint(v *strparser.View) (int, error) {
	n, k := binary.Uvarint(v.Head())
	switch {
	case k == 0:
		return 0, nil
	case k < 0 || n > 1<<30:
		return 0, errors.New("bad varint") // becomes EBADMSG
	}
	return k + int(n), nil
}

// model parses a stream byte by byte. It returns the messages, the error that
// ends the stream or 0, and how many bytes come after the last message.
func (f *framing) model(stream []byte, max int) (msgs [][]byte, errno syscall.Errno, rest int) {
	for len(stream) > 0 {
		n := 0
		for k := 1; k <= len(stream) && n == 0; k++ {
			n, errno = f.naive(stream[:k])
			if errno != 0 {
				return msgs, errno, len(stream)
			}
			if n > max || n == 0 && k > max {
				return msgs, syscall.EMSGSIZE, len(stream)
			}
		}
		if n == 0 || n > len(stream) {
			return msgs, 0, len(stream)
		}
		msgs = append(msgs, stream[:n])
		stream = stream[n:]
	}
	return msgs, 0, 0
}

// check compares a parser that has seen all of the stream with the model and
// looks at the invariants that hold between calls.
type check struct {
	t     testing.TB
	f     *framing
	l     *lower
	p     *strparser.Parser
	kept  []*sgmsg.Message
	msgs  [][]byte
	total int
	seen  uint64 // Messages at the last look

	batches int
}

func (c *check) invariants() {
	c.t.Helper()
	p, st := c.p, c.p.Stats()
	switch {
	case p.Need() != 0 && p.Need() != p.MessageLen()-p.InProgress():
		c.t.Fatalf("need %d, %d of %d in hand", p.Need(), p.InProgress(), p.MessageLen())
	case p.Need() != c.l.want:
		c.t.Fatalf("need %d, the lower was told %d", p.Need(), c.l.want)
	case c.l.armed && p.InProgress() == 0:
		c.t.Fatal("the timer runs with nothing in hand")
	case st.Messages != uint64(len(c.msgs)):
		c.t.Fatalf("%d messages counted, %d delivered", st.Messages, len(c.msgs))
	case st.Messages < c.seen:
		c.t.Fatal("a counter decreased")
	case int(st.Bytes) != c.l.consumed:
		c.t.Fatalf("%d bytes counted, %d consumed", st.Bytes, c.l.consumed)
	case st.Interrupted && st.Unrecoverable, (st.Interrupted || st.Unrecoverable) && !p.Stopped():
		c.t.Fatalf("flags %+v, stopped %v", st, p.Stopped())
	case len(c.l.posted) > 1:
		c.t.Fatalf("posted %v", c.l.posted)
	}
	c.seen = st.Messages
	dropped := 0
	var abort *strparser.AbortError
	if errors.As(p.Err(), &abort) {
		dropped = abort.Dropped
	}
	if int(st.Bytes) != c.total+p.InProgress()+dropped {
		c.t.Fatalf("%d bytes consumed, %d delivered, %d in hand, %d dropped", st.Bytes, c.total, p.InProgress(), dropped)
	}
}

// batched makes a Batch callback that does with each message what handle does with one
// that comes alone.
func (c *check) batched(handle func(*strparser.Parser, *sgmsg.Message)) func(*strparser.Parser, *strparser.Batch) {
	return func(p *strparser.Parser, b *strparser.Batch) {
		c.batches++
		if b.Len() < 1 {
			c.t.Fatal("a batch of nothing")
		}
		for i := range b.Len() {
			var m sgmsg.Message
			m.AppendShared(b.Elem(i))
			if got := m.AppendTo(nil); !bytes.Equal(got, b.Bytes(i)) {
				c.t.Fatalf("message %d of %d is % x as an element, % x as bytes", i, b.Len(), got, b.Bytes(i))
			}
			handle(p, &m)
			m.Reset()
		}
	}
}

// against compares what was delivered with the model.
func (c *check) against(stream []byte, max int) {
	c.t.Helper()
	msgs, errno, _ := c.f.model(stream, max)
	for i := range min(len(msgs), len(c.msgs)) {
		if !bytes.Equal(msgs[i], c.msgs[i]) {
			c.t.Fatalf("message %d is % x, want % x", i, c.msgs[i], msgs[i])
		}
	}
	if len(msgs) != len(c.msgs) {
		c.t.Fatalf("%d messages, want %d; %v", len(c.msgs), len(msgs), c.p.Err())
	}
	for i, m := range c.kept {
		if m != nil && !bytes.Equal(m.AppendTo(nil), msgs[i]) {
			c.t.Fatalf("message %d changed after its delivery", i)
		}
	}
	if errno == 0 && c.p.Err() != nil || errno != 0 && !errors.Is(c.p.Err(), errno) {
		c.t.Fatalf("ended with %v, want errno %v", c.p.Err(), errno)
	}
}

// finish retires the parser and checks that every buffer comes back.
func (c *check) finish() {
	c.t.Helper()
	c.p.Stop()
	c.p.Done()
	c.invariants2()
	for _, m := range c.kept {
		if m != nil {
			m.Release()
		}
	}
	c.l.close()
}

func (c *check) invariants2() {
	if c.l.armed || c.l.want != 0 || c.p.InProgress() != 0 {
		c.t.Fatalf("after Done: armed %v, want %d, in hand %d", c.l.armed, c.l.want, c.p.InProgress())
	}
}

// stream makes n messages of at most max bytes, perhaps with a bad end.
func (f *framing) stream(rnd *rand.Rand, n, max int) []byte {
	var s []byte
	for range n {
		body := rnd.IntN(30)
		if rnd.IntN(4) == 0 {
			body = rnd.IntN(max)
		}
		for i := range body + 1 {
			m := f.make(slices.Repeat([]byte{byte('a' + i%26)}, body-i))
			if len(m) <= max {
				if rnd.IntN(8) == 0 { // exactly the maximum must pass
					for len(m) < max && f.name != "varint" {
						m = f.make(slices.Repeat([]byte{'M'}, body-i+max-len(m)))
					}
				}
				s = append(s, m...)
				break
			}
		}
	}
	switch rnd.IntN(4) {
	case 0: // a message too long
		s = append(s, f.make(bytes.Repeat([]byte{'z'}, max+1+rnd.IntN(20)))...)
	case 1: // noise
		for range rnd.IntN(100) {
			s = append(s, byte(rnd.Uint32()))
		}
	case 2: // a cut one
		m := f.make(bytes.Repeat([]byte{'y'}, 20))
		s = append(s, m[:rnd.IntN(len(m))]...)
	}
	return s
}

// Proves I1, I2, I3, I4, I6, I7, I9, I11, I12, I14, I15, I16, I17, C3, C5.
//
// TestChunking feeds random streams in random pieces through a lower, with
// pauses, checks, failing allocations and a lower that is full now and then.
// What comes out is what the model says, whatever happened on the way.
func TestChunking(t *testing.T) {
	for i := range framings {
		f := &framings[i]
		t.Run(f.name, func(t *testing.T) {
			for seed := range uint64(150) {
				runChunking(t, f, seed)
			}
		})
	}
}

func runChunking(t *testing.T, f *framing, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	max := 50 + rnd.IntN(400)
	stream := f.stream(rnd, 1+rnd.IntN(30), max)
	l := newLower(t, 2048)
	if rnd.IntN(2) == 0 {
		l.capacity = 30 + rnd.IntN(200) // smaller than many a message
	}
	c := &check{t: t, f: f, l: l}
	keep := rnd.IntN(3) == 0
	handle := func(p *strparser.Parser, m *sgmsg.Message) {
		c.msgs = append(c.msgs, m.AppendTo(nil))
		c.total += m.Len()
		var k *sgmsg.Message
		if keep && len(l.free) > 1024 && rnd.IntN(2) == 0 {
			k = m.Take()
		}
		c.kept = append(c.kept, k)
		if rnd.IntN(6) == 0 {
			p.Pause()
		}
	}
	running := func(p *strparser.Parser) {
		if p.Paused() {
			t.Fatal("delivery while paused")
		}
	}
	o := strparser.Options{
		Format: f.format, MaxMessage: max, AssemblyTimeout: 1,
		Message: func(p *strparser.Parser, m *sgmsg.Message) {
			running(p)
			handle(p, m)
		},
	}
	if seed%2 == 1 {
		run := c.batched(handle)
		o.Batch = func(p *strparser.Parser, b *strparser.Batch) {
			running(p)
			run(p, b)
		}
	}
	p, err := strparser.New(l, o)
	if err != nil {
		t.Fatal(err)
	}
	c.p = p
	longest := 1 + rnd.IntN(blockSize-1)
	for at := 0; at < len(stream); {
		for range rnd.IntN(3) {
			n := min(1+rnd.IntN(longest), len(stream)-at)
			if n == 0 || len(l.free) == 0 || l.capacity > 0 && l.unread >= l.capacity {
				break
			}
			l.feed(rnd.IntN(blockSize-n+1), stream[at:at+n])
			at += n
		}
		if rnd.IntN(10) == 0 {
			l.noMemory = 1 + rnd.IntN(2)
		}
		p.DataReady()
		c.invariants()
		switch rnd.IntN(8) {
		case 0:
			p.Pause()
		case 1:
			p.CheckRcv()
		}
		if p.Paused() && rnd.IntN(2) == 0 {
			if rnd.IntN(2) == 0 {
				p.Unpause()
			} else {
				p.UnpauseLocked()
			}
		}
		if l.kicked && rnd.IntN(2) == 0 {
			l.kicked = false
			p.Check()
		}
		c.invariants()
		if p.Stopped() {
			break
		}
		if p.Paused() && (len(l.free) == 0 || l.capacity > 0 && l.unread >= l.capacity) {
			p.Unpause()
		}
	}
	// What is left comes out once nothing holds it back, without a kick of ours
	// for any reason but a pause: a message all of whose bytes came is delivered.
	l.noMemory = 0
	for range 2 * len(stream) {
		if !p.Paused() && !l.kicked {
			break
		}
		p.UnpauseLocked()
		l.kicked = false
		p.Check()
		c.invariants()
	}
	p.DataReady()
	for p.Paused() {
		p.UnpauseLocked()
	}
	c.invariants()
	c.against(stream, max)
	if _, errno, rest := f.model(stream, max); errno == 0 {
		for p.EOF(); p.Paused(); {
			p.UnpauseLocked()
		}
		if rest == 0 != p.Finished() || rest > 0 && !errors.Is(p.Err(), syscall.EPIPE) {
			t.Fatalf("%d bytes before the end: finished %v, %v", rest, p.Finished(), p.Err())
		}
	}
	c.finish()
	if t.Failed() {
		t.Fatalf("seed %d", seed)
	}
}

// TestGeneralChunking is the same in general mode, where the caller feeds again
// what was not consumed.
func TestGeneralChunking(t *testing.T) {
	for i := range framings {
		f := &framings[i]
		t.Run(f.name, func(t *testing.T) {
			for seed := range uint64(100) {
				runGeneral(t, f, seed)
			}
		})
	}
}

func runGeneral(t *testing.T, f *framing, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 2))
	max := 50 + rnd.IntN(400)
	stream := f.stream(rnd, 1+rnd.IntN(30), max)
	l := newLower(t, 2048)
	c := &check{t: t, f: f, l: l}
	o := strparser.Options{
		Format: f.format, MaxMessage: max, Alloc: l,
		Lock: func(*strparser.Parser) {}, Unlock: func(*strparser.Parser) {},
		Message: func(p *strparser.Parser, m *sgmsg.Message) {
			c.msgs = append(c.msgs, m.AppendTo(nil))
			c.total += m.Len()
			c.kept = append(c.kept, m.Take())
			if rnd.IntN(4) == 0 {
				p.Pause()
			}
		},
	}
	if seed%2 == 1 {
		o.Batch = c.batched(o.Message)
	}
	p, err := strparser.New(nil, o)
	if err != nil {
		t.Fatal(err)
	}
	c.p = p
	for at := 0; at < len(stream) && !p.Stopped(); {
		n := min(1+rnd.IntN(blockSize), len(stream)-at)
		e := l.chunk(rnd.IntN(blockSize-n+1), stream[at:at+n])
		if rnd.IntN(10) == 0 {
			l.noMemory = 1
		}
		used, err := p.Process(e, 0, 0)
		e.Buf.Release()
		l.consumed += used
		at += used
		if err != nil && !p.Stopped() && err != syscall.ENOMEM {
			t.Fatal(err)
		}
		if used < n && err == nil && !p.Paused() {
			t.Fatalf("%d of %d consumed for no reason", used, n)
		}
		p.Unpause()
		if l.kicked {
			t.Fatal("a kick in general mode")
		}
		st := p.Stats()
		if int(st.Bytes) != l.consumed || int(st.Messages) != len(c.msgs) {
			t.Fatalf("counted %+v, consumed %d, delivered %d", st, l.consumed, len(c.msgs))
		}
	}
	c.against(stream, max)
	c.finish()
	if t.Failed() {
		t.Fatalf("seed %d", seed)
	}
}

// FuzzChunking cuts a stream at any places: messages and error are those of the
// model, whatever the bytes.
func FuzzChunking(f *testing.F) {
	for i := range framings {
		rnd := rand.New(rand.NewPCG(uint64(i), 3))
		for range 3 {
			f.Add(uint8(i), framings[i].stream(rnd, 4, 60), []byte{1, 2, 250, 4, 0})
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, stream, cuts []byte) {
		if len(stream) > 2000 {
			return
		}
		const max = 200
		fr := &framings[int(which)%len(framings)]
		l := newLower(t, 2048)
		c := &check{t: t, f: fr, l: l}
		o := strparser.Options{
			Format: fr.format, MaxMessage: max,
			Message: func(_ *strparser.Parser, m *sgmsg.Message) {
				c.msgs = append(c.msgs, m.AppendTo(nil))
				c.total += m.Len()
				c.kept = append(c.kept, m.Take())
			},
		}
		if len(cuts)%2 == 1 {
			o.Batch = c.batched(o.Message)
		}
		p, err := strparser.New(l, o)
		if err != nil {
			t.Fatal(err)
		}
		c.p = p
		for at, i := 0, 0; at < len(stream) && !p.Stopped(); i++ {
			n, ready := len(stream)-at, true
			if len(cuts) > 0 {
				cut := int(cuts[i%len(cuts)])
				n, ready = min(n, 1+cut/2), cut%2 == 0
			}
			n = min(n, blockSize)
			l.feed(0, stream[at:at+n])
			at += n
			if ready {
				p.DataReady()
				c.invariants()
			}
		}
		p.DataReady()
		c.invariants()
		c.against(stream, max)
		c.finish()
	})
}

// TestEveryCut cuts a stream of a few messages at every two places.
func TestEveryCut(t *testing.T) {
	for i := range framings {
		f := &framings[i]
		stream := slices.Concat(f.make([]byte("first")), f.make(nil), f.make([]byte("the third message")))
		for a := range len(stream) + 1 {
			for b := a; b <= len(stream); b++ {
				l := newLower(t, 8)
				c := &check{t: t, f: f, l: l}
				o := strparser.Options{
					Format: f.format, MaxMessage: 64,
					Message: func(_ *strparser.Parser, m *sgmsg.Message) {
						c.msgs = append(c.msgs, m.AppendTo(nil))
						c.total += m.Len()
					},
				}
				if (a+b)%2 == 1 {
					o.Batch = c.batched(o.Message)
				}
				p, err := strparser.New(l, o)
				if err != nil {
					t.Fatal(err)
				}
				c.p = p
				for _, part := range [][]byte{stream[:a], stream[a:b], stream[b:]} {
					if len(part) > 0 {
						l.feed(0, part)
						p.DataReady()
						c.invariants()
					}
				}
				c.against(stream, 64)
				c.finish()
				if t.Failed() {
					t.Fatal(f.name, fmt.Sprint(a, b))
				}
			}
		}
	}
}
