//go:build linux

package strparser_test

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

const invariantsOrRace = invariants.Enabled || invariants.Race

func nothing(*strparser.Parser)                      {}
func ignore(*strparser.Parser, *sgmsg.Message)       {}
func start(*strparser.Parser, time.Duration, uint32) {}

func TestInit(t *testing.T) {
	l := newLower(t, 1)
	ok := strparser.Options{Format: strparser.Length32, Message: ignore}
	general := ok
	general.Lock, general.Unlock, general.Alloc = nothing, nothing, l
	for _, c := range []struct {
		name  string
		lower strparser.Lower
		base  strparser.Options
		edit  func(o *strparser.Options)
		want  string // in the error; "" none
	}{
		{"receive", l, ok, nil, ""},
		{"general", nil, general, nil, ""},
		{"no format", l, ok, func(o *strparser.Options) { o.Format = nil }, "Format"},
		{"no message", l, ok, func(o *strparser.Options) { o.Message = nil }, "Message"},
		{"max", l, ok, func(o *strparser.Options) { o.MaxMessage = -1 }, "MaxMessage"},
		{"timeout", l, ok, func(o *strparser.Options) { o.AssemblyTimeout = -1 }, "AssemblyTimeout"},
		{"half a lock", l, ok, func(o *strparser.Options) { o.Lock = nothing }, "Lock and Unlock"},
		{"half a timer", l, ok, func(o *strparser.Options) { o.StartTimer = start }, "StartTimer and StopTimer"},
		{"general, no lock", nil, general, func(o *strparser.Options) { o.Lock, o.Unlock = nil, nil }, "Lock and Unlock"},
		{"general, no memory", nil, general, func(o *strparser.Options) { o.Alloc = nil }, "Alloc"},
		{"general, no timer", nil, general, func(o *strparser.Options) { o.AssemblyTimeout = 1 }, "StartTimer"},
		{"width 0", l, ok, func(o *strparser.Options) { o.Format = strparser.Length{} }, "Width 0"},
		{"width 9", l, ok, func(o *strparser.Options) { o.Format = &strparser.Length{Width: 9} }, "Width 9"},
		{"offset", l, ok, func(o *strparser.Options) { o.Format = strparser.Length{Width: 1, Offset: -1} }, "Offset -1"},
		{"adjust", l, ok, func(o *strparser.Options) { o.Format = strparser.Length{Width: 1, Adjust: math.MinInt} }, "Adjust"},
	} {
		o := c.base
		if c.edit != nil {
			c.edit(&o)
		}
		p, err := strparser.New(c.lower, o)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want == "":
			if p.Stats() != (strparser.Stats{}) || p.Stopped() || p.Paused() || p.Err() != nil {
				t.Errorf("%s: a new parser is not in its first state", c.name)
			}
		case !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), c.want) || p != nil:
			t.Errorf("%s: %v, want EINVAL about %q", c.name, err, c.want)
		}
	}
	l.close()
}

// TestSize: a parser is part of every connection.
func TestSize(t *testing.T) {
	if n := reflect.TypeFor[strparser.Parser]().Size(); n > 304 {
		t.Errorf("a Parser has %d bytes, at most 304 are meant", n)
	}
}

// Proves E36.
//
// TestProfile: parsers share the options and know their owners. What the caller
// does to its own options later has no effect.
func TestProfile(t *testing.T) {
	type conn struct {
		parser strparser.Parser
		got    int
	}
	o := strparser.Options{
		Format:  strparser.Length16,
		Message: func(p *strparser.Parser, m *sgmsg.Message) { p.Owner().(*conn).got += m.Len() },
	}
	pr, err := strparser.NewProfile(o)
	if err != nil {
		t.Fatal(err)
	}
	o.MaxMessage = 1
	l := newLower(t, 8)
	var conns [3]conn
	for i := range conns {
		c := &conns[i]
		if err := pr.Init(&c.parser, l, c); err != nil {
			t.Fatal(err)
		}
		l.feed(0, make([]byte, 2*(i+1))) // empty messages of 2 bytes
		c.parser.DataReady()
		if c.got != 2*(i+1) {
			t.Errorf("connection %d got %d bytes: %v", i, c.got, c.parser.Err())
		}
		c.parser.Stop()
		c.parser.Done()
	}
	l.close()
}

// TestDoneInside: the callback must not free what it is called from.
func TestDoneInside(t *testing.T) {
	l := newLower(t, 1)
	var text any
	p, err := strparser.New(l, strparser.Options{
		Format: strparser.Length16,
		Message: func(p *strparser.Parser, m *sgmsg.Message) {
			defer func() { text = recover() }()
			p.Stop()
			p.Done()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	l.feed(0, []byte{0, 0})
	p.DataReady()
	if text == nil || p.Stats().Messages != 1 {
		t.Errorf("panic %v, %+v", text, p.Stats())
	}
	p.Done()
	l.close()
}

// TestInsideCallback: ending the stream from inside the callback does not take
// the message away from it.
func TestInsideCallback(t *testing.T) {
	for name, end := range map[string]func(p *strparser.Parser){
		"LowerError": func(p *strparser.Parser) { p.LowerError(syscall.ECONNRESET) },
		"Abort":      func(p *strparser.Parser) { p.Abort(&strparser.AbortError{Errno: syscall.EACCES}) },
		"Stop":       (*strparser.Parser).Stop,
	} {
		l := newLower(t, 4)
		var got string
		p, err := strparser.New(l, strparser.Options{
			Format: strparser.Length16, AssemblyTimeout: time.Second,
			Message: func(p *strparser.Parser, m *sgmsg.Message) {
				end(p)
				got += string(m.AppendTo(nil)[2:])
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"\x00", "\x04a", "bcd\x00\x00"} {
			l.feed(0, []byte(part))
			p.DataReady()
		}
		if got != "abcd" || !p.Stopped() || l.armed || l.unread != 2 {
			t.Errorf("%s: got %q, stopped %v, armed %v, unread %d", name, got, p.Stopped(), l.armed, l.unread)
		}
		if name == "Abort" && (!errors.Is(p.Err(), syscall.EACCES) || p.Err().Error() != "strparser: permission denied") {
			t.Errorf("aborted with %v", p.Err())
		}
		p.Done()
		l.close()
	}
}

// TestBorrowers: what a callback does to a message leaves those behind it in the same
// chunk as they were. Each thing to do is done before each other.
func TestBorrowers(t *testing.T) {
	l := newLower(t, 16)
	own, err := l.private.Alloc(5)
	if err != nil {
		t.Fatal(err)
	}
	var kept sgmsg.Message
	const move = 0
	borrowers := []func(p *strparser.Parser, m *sgmsg.Message){
		move: func(_ *strparser.Parser, m *sgmsg.Message) { m.MoveTo(&kept) },
		1:    func(_ *strparser.Parser, m *sgmsg.Message) {},
		2:    func(_ *strparser.Parser, m *sgmsg.Message) { m.Trim(1) },
		3:    func(_ *strparser.Parser, m *sgmsg.Message) { m.TrimFront(2) },
		4:    func(_ *strparser.Parser, m *sgmsg.Message) { m.TrimFront(m.Len()) },
		5:    func(_ *strparser.Parser, m *sgmsg.Message) { m.Take().Release() },
		6:    func(_ *strparser.Parser, m *sgmsg.Message) { m.Release() },
		7:    func(_ *strparser.Parser, m *sgmsg.Message) { m.AppendShared(own) },
		8:    func(p *strparser.Parser, _ *sgmsg.Message) { p.Pause() },
	}
	n := len(borrowers)
	which := func(k int) int { // of message k: those of a pair are next to each other
		if k%2 == 0 {
			return k / 2 / n
		}
		return k / 2 % n
	}
	var got, want []string
	var moved string
	p, err := strparser.New(l, strparser.Options{
		Format: strparser.Length16,
		Message: func(p *strparser.Parser, m *sgmsg.Message) {
			got = append(got, string(m.AppendTo(nil)))
			borrowers[which(len(got)-1)](p, m)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for k := 0; k < 2*n*n; {
		var chunk []byte
		for range 2 * n {
			s := string([]byte{0, 2, 'k', byte(k)})
			want = append(want, s)
			chunk = append(chunk, s...)
			if which(k) == move {
				moved += s
			}
			k++
		}
		l.feed(0, chunk)
		for p.DataReady(); p.Paused(); {
			p.UnpauseLocked()
		}
	}
	if !slices.Equal(got, want) || string(kept.AppendTo(nil)) != moved {
		t.Errorf("got  %q and %q\nwant %q and %q", got, kept.AppendTo(nil), want, moved)
	}
	kept.Release()
	own.Buf.Release()
	p.Stop()
	p.Done()
	l.close()
}

// TestUnwindReleasesDelivered: a callback that panics keeps nothing of its message,
// also when that came in several chunks.
func TestUnwindReleasesDelivered(t *testing.T) {
	long := string(make([]byte, 3*blockSize))
	for _, parts := range [][]string{
		{"\x00\x01a\x00\x01b"},
		{"\x00", "\x01a"},
		{"\x00\x64" + long[:40], long[:60]},
		{"\x01\x00" + long[:200], long[:56]},
	} {
		l := newLower(t, 4)
		p, err := strparser.New(l, strparser.Options{
			Format:  strparser.Length16,
			Message: func(*strparser.Parser, *sgmsg.Message) { panic("handler") },
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			l.feed(0, []byte(part))
		}
		if panics(p.Check) == nil || p.Stats().Messages != 1 {
			t.Errorf("%q: no panic, %+v", parts, p.Stats())
		}
		p.Unwind()
		p.Done()
		l.close()
	}
}

// TestReadDone: what it returns decides whether the loop is tried again.
func TestReadDone(t *testing.T) {
	l := newLower(t, 4)
	result := error(syscall.ENOMEM)
	var seen error
	p, err := strparser.New(l, strparser.Options{
		Format: strparser.Length16, Message: ignore,
		ReadDone: func(_ *strparser.Parser, err error) error { seen = err; return result },
	})
	if err != nil {
		t.Fatal(err)
	}
	p.DataReady()
	if seen != nil || !l.kicked {
		t.Errorf("saw %v; kicked %v after ENOMEM", seen, l.kicked)
	}
	l.kicked, result, l.noMemory = false, nil, 1
	l.feed(0, append([]byte{0, 90}, make([]byte, 40)...))
	p.DataReady()
	if seen != syscall.ENOMEM || l.kicked {
		t.Errorf("saw %v; kicked %v although the error was taken away", seen, l.kicked)
	}
	p.Stop()
	p.Done()
	l.close()
}

// TestUnpauseAnywhere pauses after every message and unpauses on another
// goroutine, which also asks for the check.
func TestUnpauseAnywhere(t *testing.T) {
	const count = 2000
	pool := newLower(t, 64)
	l := &kicked{lower: pool, kicks: make(chan struct{}, 1)}
	paused := make(chan *strparser.Parser, 1)
	got := 0
	p, err := strparser.New(l, strparser.Options{
		Format: strparser.Length16,
		Message: func(p *strparser.Parser, m *sgmsg.Message) {
			got++
			p.Pause()
			paused <- p
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for p := range paused {
			runtime.Gosched()
			p.Unpause()
		}
	})
	for fed := 0; got < count; {
		for ; fed < count && len(pool.free) > 0; fed++ {
			pool.feed(0, []byte{0, 1, 'x'})
		}
		p.DataReady()
		if p.Paused() {
			<-l.kicks
			p.Check()
		}
	}
	close(paused)
	wg.Wait()
	p.Stop()
	p.Done()
	pool.close()
}

// kicked is a lower whose Kick may come from any goroutine.
type kicked struct {
	*lower
	kicks chan struct{}
}

func (k *kicked) Kick() {
	select {
	case k.kicks <- struct{}{}:
	default:
	}
}

// Proves C1.
//
// TestView looks at a message that comes in pieces, short ones that are kept in
// the parser or copied and long ones that are referenced.
func TestView(t *testing.T) {
	body := make([]byte, 110)
	for i := range body {
		body[i] = byte(' ' + i)
	}
	for a := 1; a < len(body); a += 1 + a/20 {
		for b := a; b < len(body); b += 1 + (b-a)/10 {
			l := newLower(t, 8)
			p, err := strparser.New(l, strparser.Options{
				Message: ignore,
				Format: strparser.ParseFunc(func(v *strparser.View) (int, error) {
					all := body[:v.Len()]
					if h := string(v.Head()); len(h) < min(v.Len(), 16) || !strings.HasPrefix(string(all), h) {
						t.Fatalf("cut at %d and %d: head %q of %d", a, b, h, v.Len())
					}
					for off := -1; off <= v.Len()+1; off++ {
						buf := make([]byte, 7)
						n := v.CopyTo(buf, off)
						want := ""
						if off >= 0 && off < v.Len() {
							want = string(all[off:min(off+7, v.Len())])
						}
						if string(buf[:n]) != want {
							t.Fatalf("cut at %d and %d: CopyTo at %d gave %q, want %q", a, b, off, buf[:n], want)
						}
					}
					if v.Len() > 2 && v.Words[0] != uint64(v.Off) {
						t.Fatal("the cookie was not kept")
					}
					v.Off = v.Len()
					v.Words[0] = uint64(v.Off)
					if v.Len() < len(body) {
						return 0, nil
					}
					return len(body), nil
				}),
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range [][]byte{body[:a], body[a:b], body[b:]} {
				if len(part) > 0 {
					l.feed(0, part)
					p.DataReady()
				}
			}
			if p.Stats().Messages != 1 {
				t.Fatalf("%+v", p.Stats())
			}
			p.Stop()
			p.Done()
			l.close()
		}
	}
}

func TestLengthLimits(t *testing.T) {
	for _, c := range []struct {
		name  string
		f     strparser.Length
		bytes []byte
		want  syscall.Errno
		text  string
	}{
		{"64 bits of ones", strparser.Length64, []byte("\xff\xff\xff\xff\xff\xff\xff\xff"), syscall.EMSGSIZE, "exceeds the maximum of 100"},
		{"64 bits, the sign bit", strparser.Length64LE, []byte("\x00\x00\x00\x00\x00\x00\x00\x80"), syscall.EMSGSIZE, "exceeds"},
		{"32 bits of ones", strparser.Length32LE, []byte("\xff\xff\xff\xff"), syscall.EMSGSIZE, "message of 4294967299 bytes exceeds the maximum of 100"},
		{"inclusive, too small", strparser.Length{Width: 4, Inclusive: true}, []byte{0, 0, 0, 3}, syscall.EPROTO,
			"length field 3 makes a message of 3 bytes, shorter than its 4-byte header"},
		{"negative", strparser.Length{Width: 1, Adjust: -10}, []byte{3}, syscall.EPROTO, "message of -6 bytes"},
		{"adjusted", strparser.Length{Width: 1, Adjust: -3}, []byte{3}, 0, ""},
		{"zero payload", strparser.Length32, []byte{0, 0, 0, 0}, 0, ""},
	} {
		for _, more := range []int{0, 16} { // the short road and the long one
			l := newLower(t, 2)
			p, err := strparser.New(l, strparser.Options{Format: c.f, Message: ignore, MaxMessage: 100})
			if err != nil {
				t.Fatal(err)
			}
			l.feed(0, append(append([]byte{}, c.bytes...), make([]byte, more)...))
			p.DataReady()
			switch err := p.Err(); {
			case c.want != 0 && (!errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text)):
				t.Errorf("%s: %v, want %v about %q", c.name, err, c.want, c.text)
			case c.want == 0 && p.Stats().Messages == 0:
				t.Errorf("%s: no message, %v", c.name, err)
			}
			p.Stop()
			p.Done()
			l.close()
		}
	}
}

// TestPutHeader: what a format writes it reads back, for all widths.
func TestPutHeader(t *testing.T) {
	for width := 1; width <= 8; width++ {
		for _, order := range []binary.ByteOrder{nil, binary.BigEndian, binary.LittleEndian} {
			for _, adjust := range []int{0, -1, 5} {
				for _, inclusive := range []bool{false, true} {
					f := strparser.Length{Width: width, Order: order, Offset: width % 3, Adjust: adjust, Inclusive: inclusive}
					for _, payload := range []int{5, 30, 200} {
						b := make([]byte, f.HeaderLen()+payload)
						n, err := f.PutHeader(b, payload)
						if width == 1 && errors.Is(err, syscall.EMSGSIZE) {
							continue
						}
						if err != nil || n != f.HeaderLen() {
							t.Fatalf("%+v: %d, %v", f, n, err)
						}
						got := 0
						l := newLower(t, 2)
						p, err := strparser.New(l, strparser.Options{
							Format:  f,
							Message: func(_ *strparser.Parser, m *sgmsg.Message) { got = m.Len() },
						})
						if err != nil {
							t.Fatal(err)
						}
						l.feed(0, b)
						p.DataReady()
						if got != len(b) {
							t.Fatalf("%+v: a payload of %d became a message of %d, %v", f, payload, got, p.Err())
						}
						p.Stop()
						p.Done()
						l.close()
					}
				}
			}
		}
	}
	if _, err := strparser.Length8.PutHeader(make([]byte, 8), 256); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("256 bytes in 8 bits: %v", err)
	}
	if n, err := strparser.Length8.PutHeader(make([]byte, 8), 255); n != 1 || err != nil {
		t.Errorf("255 bytes in 8 bits: %d, %v", n, err)
	}
	if _, err := strparser.Length32.PutHeader(make([]byte, 3), 1); !errors.Is(err, io.ErrShortBuffer) {
		t.Errorf("into 3 bytes: %v", err)
	}
	if _, err := strparser.Length32.PutHeader(make([]byte, 4), -1); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("a negative payload: %v", err)
	}
	f := strparser.ParseFunc(parseLine)
	if _, err := f.PutHeader(nil, 1); !errors.Is(err, errors.ErrUnsupported) || f.HeaderLen() != 0 {
		t.Errorf("a ParseFunc wrote a header: %v", err)
	}
}

func TestErrors(t *testing.T) {
	if !errors.Is(strparser.ErrDecline, syscall.ESTRPIPE) {
		t.Error("ErrDecline is not ESTRPIPE")
	}
	l := newLower(t, 4)
	cause := &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	p, err := strparser.New(l, strparser.Options{Format: strparser.Length16, Message: ignore})
	if err != nil {
		t.Fatal(err)
	}
	p.LowerError(cause)
	var op *net.OpError
	if !errors.Is(p.Err(), syscall.ECONNRESET) || !errors.As(p.Err(), &op) {
		t.Errorf("errno or cause is lost: %v", p.Err())
	}
	p.Done()

	// A decline after bytes were taken is ENODATA and nothing else.
	p, err = strparser.New(l, strparser.Options{Message: ignore, Format: strparser.ParseFunc(
		func(v *strparser.View) (int, error) {
			if v.Len() < 2 {
				return 0, nil
			}
			return 0, strparser.ErrDecline
		})})
	if err != nil {
		t.Fatal(err)
	}
	l.feed(0, []byte("a"))
	l.feed(0, []byte("b"))
	p.DataReady()
	if !errors.Is(p.Err(), syscall.ENODATA) || errors.Is(p.Err(), syscall.ESTRPIPE) {
		t.Errorf("declined late: %v", p.Err())
	}
	p.Done()
	l.close()
}

func TestAggregate(t *testing.T) {
	s := strparser.Stats{
		Messages: 1, Bytes: 2, Copied: 3, MemFail: 4, NeedMoreHdr: 5, MsgTooBig: 6,
		MsgTimeouts: 7, BadHdrLen: 8, Aborted: true, Interrupted: true, Unrecoverable: true,
	}
	var a, b strparser.Aggregate
	a.Save(s)
	a.Save(s)
	s.Aborted, s.Interrupted, s.Unrecoverable = false, false, false
	a.Save(s)
	b.Save(s)
	a.Add(&b)
	want := strparser.Aggregate{
		Messages: 4, Bytes: 8, Copied: 12, MemFail: 16, NeedMoreHdr: 20, MsgTooBig: 24,
		MsgTimeouts: 28, BadHdrLen: 32, Aborts: 2, Interrupted: 2, Unrecoverable: 2,
	}
	if a != want {
		t.Errorf("%+v, want %+v", a, want)
	}
	a.Add(&a)
	if a.Messages != 8 || a.Aborts != 4 {
		t.Errorf("added to itself: %+v", a)
	}
}
