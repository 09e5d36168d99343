package conform

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	maxMessage = 16 << 20
	window     = 16               // frames in flight when pipelined
	patience   = 20 * time.Second // no step takes that long
)

// Test runs all checks against the server at addr.
func Test(t *testing.T, addr string, allow Allow) {
	t.Run("pipelined", func(t *testing.T) { testPipelined(t, addr, allow) })
	t.Run("dripped", func(t *testing.T) { testDripped(t, addr, allow) })
	t.Run("large", func(t *testing.T) { testLarge(t, addr) })
	t.Run("half close", func(t *testing.T) { testHalfClose(t, addr, allow) })
	t.Run("half close with backlog", func(t *testing.T) { testBacklog(t, addr, allow) })
	t.Run("stalled reader", func(t *testing.T) { testStalled(t, addr, allow) })
	t.Run("too large", func(t *testing.T) { testTooLarge(t, addr) })
	t.Run("reset", func(t *testing.T) { testReset(t, addr) })
}

// testPipelined sends frames of random sizes from several connections, up to
// window of them in flight on each, and checks every reply.
func testPipelined(t *testing.T, addr string, allow Allow) {
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			c, err := dial(addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if err := exchange(c, randomFrames(uint64(i), 200), allow, window); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// testDripped sends each byte in a write, and so mostly in a segment, of its
// own. The last frame is never finished and must not be answered.
func testDripped(t *testing.T, addr string, allow Allow) {
	c, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := rand.New(rand.NewPCG(7, 7))
	frames := make([][]byte, 40)
	for i := range frames {
		frames[i] = newFrame(r, r.IntN(60))
	}
	sent := make(chan error, 1)
	go func() {
		for _, b := range append(bytes.Join(frames, nil), 0, 0, 0, 9, 'u', 'n') {
			if _, err := c.Write([]byte{b}); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	if err := receive(c, frames, allow, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := expectEnd(c); err != nil {
		t.Fatalf("after part of a frame: %v", err)
	}
}

// testLarge sends 1 MiB, then the largest frame there is, then small ones. The
// largest is longer than any socket buffer, so the server must cope with a
// write that takes only part.
func testLarge(t *testing.T, addr string) {
	c, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := rand.New(rand.NewPCG(8, 8))
	for _, n := range []int{10, 1 << 20, 10, maxMessage, 0, 1} {
		if err := exchange(c, [][]byte{newFrame(r, n)}, Allow{}, 1); err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

// testHalfClose ends the stream in the middle of a frame. All frames before it
// are answered and then the server ends its stream too.
func testHalfClose(t *testing.T, addr string, allow Allow) {
	c, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := rand.New(rand.NewPCG(9, 9))
	frames := make([][]byte, window)
	for i := range frames {
		frames[i] = newFrame(r, 100*i)
	}
	if _, err := c.Write(append(bytes.Join(frames, nil), 0, 0)); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := receive(c, frames, allow, nil); err != nil {
		if allow.LossAtHalfClose && ended(err) {
			return
		}
		t.Fatal(err)
	}
	if err := expectEnd(c); err != nil && !allow.LossAtHalfClose {
		t.Fatal(err)
	}
}

// testBacklog is testHalfClose with more replies outstanding than the socket
// takes at once.
func testBacklog(t *testing.T, addr string, allow Allow) {
	c, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	frames := [][]byte{newFrame(rand.New(rand.NewPCG(10, 10)), maxMessage)}
	if _, err := c.Write(frames[0]); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := receive(c, frames, allow, nil); err != nil {
		if allow.LossAtHalfClose && ended(err) {
			return
		}
		t.Fatal(err)
	}
	if err := expectEnd(c); err != nil {
		t.Fatal(err)
	}
}

// testStalled reads no reply until the server reads no more either, or has all
// that is sent, and then all of them. It is more than sockets hold, so the
// server has to keep part or to stop reading.
func testStalled(t *testing.T, addr string, allow Allow) {
	c, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := rand.New(rand.NewPCG(12, 12))
	frames := make([][]byte, 6<<10)
	for i := range frames {
		frames[i] = newFrame(r, 1<<10+r.IntN(6<<10))
	}
	rest := bytes.Join(frames, nil)
	for stalled := false; !stalled && len(rest) > 0; {
		c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		n, err := c.Write(rest[:min(len(rest), 64<<10)])
		rest = rest[n:]
		stalled = errors.Is(err, os.ErrDeadlineExceeded)
		if err != nil && !stalled {
			t.Fatal(err)
		}
	}
	c.SetWriteDeadline(time.Now().Add(patience))
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(rest)
		sent <- err
	}()
	if err := receive(bufio.NewReader(c), frames, allow, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// testTooLarge announces one byte more than allowed.
func testTooLarge(t *testing.T, addr string) {
	c, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(binary.BigEndian.AppendUint32(nil, maxMessage+1)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(make([]byte, 1))
	if n != 0 || !ended(err) {
		t.Fatalf("read %d bytes, %v, want the connection closed", n, err)
	}
}

// testReset breaks connections in the middle of everything; the server must
// still serve the next one.
func testReset(t *testing.T, addr string) {
	for i := range 20 {
		c, err := dial(addr)
		if err != nil {
			t.Fatal(err)
		}
		f := newFrame(rand.New(rand.NewPCG(11, uint64(i))), 64<<10)
		if _, err := c.Write(bytes.Repeat(f, 3)[:HeaderLen+i*10000]); err != nil {
			t.Fatal(err)
		}
		c.SetLinger(0)
		c.Close()
	}
	c, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := exchange(c, randomFrames(11, 5), Allow{}, 1); err != nil {
		t.Fatal(err)
	}
}

// HeaderLen is the length of the frame header in bytes.
const HeaderLen = 4

func dial(addr string) (*net.TCPConn, error) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn), nil
}

func newFrame(r *rand.Rand, n int) []byte {
	f := make([]byte, HeaderLen+n)
	binary.BigEndian.PutUint32(f, uint32(n))
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], r.Uint64())
	rand.NewChaCha8(seed).Read(f[HeaderLen:])
	return f
}

// randomFrames has payloads of 0 to 64 KiB, half of them under 256 bytes.
func randomFrames(seed uint64, n int) [][]byte {
	r := rand.New(rand.NewPCG(seed, 1))
	frames := make([][]byte, n)
	for i := range frames {
		limit := 256
		if r.IntN(2) == 0 {
			limit = 64<<10 + 1
		}
		frames[i] = newFrame(r, r.IntN(limit))
	}
	return frames
}

// exchange writes frames with at most n of them unanswered and checks the
// replies.
func exchange(c net.Conn, frames [][]byte, allow Allow, n int) error {
	credit := make(chan struct{}, len(frames)+n)
	for range n {
		credit <- struct{}{}
	}
	sent := make(chan error, 1)
	go func() {
		var err error
		for _, f := range frames {
			<-credit
			if _, err = c.Write(f); err != nil {
				break
			}
		}
		sent <- err
	}()
	if err := receive(c, frames, allow, credit); err != nil {
		c.Close()
		close(credit)
		<-sent
		return err
	}
	return <-sent
}

// receive reads the replies to frames and puts one token into credit for each.
func receive(c io.Reader, frames [][]byte, allow Allow, credit chan<- struct{}) error {
	open := make(map[string]int) // frames not yet answered, and how often each is there
	if allow.AnyOrder {
		for _, f := range frames {
			open[string(f)]++
		}
	}
	for i, f := range frames {
		got := make([]byte, HeaderLen)
		if _, err := io.ReadFull(c, got); err != nil {
			return fmt.Errorf("reply %d: header: %w", i, err)
		}
		n := binary.BigEndian.Uint32(got)
		if n > maxMessage {
			return fmt.Errorf("reply %d: header announces %d bytes", i, n)
		}
		got = append(got, make([]byte, n)...)
		if _, err := io.ReadFull(c, got[HeaderLen:]); err != nil {
			return fmt.Errorf("reply %d: payload of %d bytes: %w", i, n, err)
		}
		switch {
		case allow.AnyOrder && open[string(got)] == 0:
			return fmt.Errorf("reply %d: a frame of %d bytes that answers none of ours", i, n)
		case allow.AnyOrder:
			open[string(got)]--
		case !bytes.Equal(got, f):
			return fmt.Errorf("reply %d: got a frame of %d bytes, want one of %d, or contents differ", i, n, len(f)-HeaderLen)
		}
		if credit != nil {
			credit <- struct{}{}
		}
	}
	return nil
}

// expectEnd checks that the server ends its stream with nothing more to say.
func expectEnd(c net.Conn) error {
	b, err := io.ReadAll(c)
	if err != nil {
		return fmt.Errorf("want the end of the stream: %w", err)
	}
	if len(b) > 0 {
		return fmt.Errorf("want the end of the stream, got %d bytes", len(b))
	}
	return nil
}

// ended reports whether err says that the peer closed the connection.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}
