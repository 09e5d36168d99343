package echo

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

// workFrame is a frame of n payload bytes that costs d.
func workFrame(n int, d time.Duration, sleep bool) []byte {
	f := frame(n)
	binary.BigEndian.PutUint32(f[HeaderLen:], uint32(d.Microseconds()))
	if sleep {
		f[HeaderLen+4] = 1
	}
	return f
}

func TestWorkOf(t *testing.T) {
	for _, tt := range []struct {
		name  string
		frame []byte
		want  work
	}{
		{"no payload", frame(0), work{}},
		{"too short to say", append(frame(0), 0, 0, 1, 0), work{}},
		{"nothing", frame(9), work{}},
		{"spin", workFrame(5, 10*time.Microsecond, false), work{spin: 10 * time.Microsecond}},
		{"sleep", workFrame(64, 2*time.Millisecond, true), work{sleep: 2 * time.Millisecond}},
		{"all bytes count", []byte{0, 0, 0, 5, 1, 2, 3, 4, 0}, work{spin: 0x01020304 * time.Microsecond}},
	} {
		if got := workOf(tt.frame); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestWorkDo(t *testing.T) {
	for _, w := range []work{{spin: time.Millisecond}, {sleep: time.Millisecond}} {
		start := time.Now()
		if w.do(); time.Since(start) < time.Millisecond {
			t.Errorf("%+v took %v", w, time.Since(start))
		}
	}
}

// dialTest connects to s.
func dialTest(t *testing.T, s Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// expectReply reads one reply and checks it.
func expectReply(t *testing.T, c net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("got the reply % x, want % x", got, want)
	}
}

// With one message in flight every engine answers in order, after the time asked
// for and not before.
func TestDispatchersWork(t *testing.T) {
	for _, name := range Dispatchers() {
		t.Run(name, func(t *testing.T) {
			s, err := Listen(name, "127.0.0.1:0", Options{Work: true})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			c := dialTest(t, s)
			for i := range 20 {
				f := workFrame(5+i, time.Duration(i)*100*time.Microsecond, i%2 == 0)
				start := time.Now()
				if _, err := c.Write(f); err != nil {
					t.Fatal(err)
				}
				expectReply(t, c, f)
				if d, least := time.Since(start), time.Duration(i)*100*time.Microsecond; d < least {
					t.Errorf("answered after %v, the message costs %v", d, least)
				}
			}
		})
	}
}

// stuck is so long that a test which waits for it fails at its deadline.
const stuck = time.Minute

// A worker that is stuck delays what it alone can handle, and nothing else. The
// engines differ in what that is.
func TestDispatchersStuck(t *testing.T) {
	for _, tt := range []struct {
		name  string
		slow  int  // stuck messages
		other bool // the quick one comes on another connection
	}{
		{"netgo", 3, false},
		{"netpool", 3, false},
		{"netshard", 3, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Listen(tt.name, "127.0.0.1:0", Options{Workers: 4, Work: true})
			if err != nil {
				t.Fatal(err)
			}
			// Not Close: the workers sleep on.
			busy := dialTest(t, s)
			for range tt.slow {
				if _, err := busy.Write(workFrame(5, stuck, true)); err != nil {
					t.Fatal(err)
				}
			}
			quick := busy
			if tt.other {
				quick = dialTest(t, s)
			}
			for i := range 100 {
				f := workFrame(5+i, 0, false)
				if _, err := quick.Write(f); err != nil {
					t.Fatal(err)
				}
				expectReply(t, quick, f)
			}
		})
	}
}

// At most Workers messages are handled at a time.
func TestDispatchersLimit(t *testing.T) {
	const d = 20 * time.Millisecond
	for _, name := range Dispatchers() {
		t.Run(name, func(t *testing.T) {
			s, err := Listen(name, "127.0.0.1:0", Options{Workers: 2, Work: true})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			f := workFrame(5, d, true)
			start := time.Now()
			conns := make([]net.Conn, 6)
			for i := range conns {
				conns[i] = dialTest(t, s)
				if _, err := conns[i].Write(f); err != nil {
					t.Fatal(err)
				}
			}
			for _, c := range conns {
				expectReply(t, c, f)
			}
			if got := time.Since(start); got < 3*d {
				t.Errorf("6 messages of %v on 2 workers took %v, want %v or more", d, got, 3*d)
			}
		})
	}
}

// A message allocates nothing once buffers are there.
func TestDispatchersAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("a sync.Pool drops things at random under the race detector")
	}
	for _, name := range Dispatchers() {
		t.Run(name, func(t *testing.T) {
			s, err := Listen(name, "127.0.0.1:0", Options{Work: true})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			c := dialTest(t, s)
			f := workFrame(64, time.Microsecond, false)
			reply := make([]byte, len(f))
			n := testing.AllocsPerRun(500, func() {
				if _, err := c.Write(f); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(c, reply); err != nil {
					t.Fatal(err)
				}
			})
			if n >= 1 {
				t.Errorf("%v allocations per message", n)
			}
		})
	}
}
