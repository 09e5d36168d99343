package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// patience is when a test that waits gives up.
const patience = 10 * time.Second

// TestFiles has several connections ask for many files without waiting for replies.
func TestFiles(t *testing.T) {
	root := t.TempDir()
	names := []string{"missing", "dir", "../outside", "no\x00name", ""}
	want := map[string]string{
		"missing":    "error: no such file or directory",
		"dir":        "error: is a directory",
		"no\x00name": "error: invalid argument",
	}
	for _, name := range []string{"../outside", ""} { // the words are package os's
		_, err := os.OpenInRoot(root, name)
		want[name] = fmt.Sprint("error: ", errors.Unwrap(err))
	}
	if err := os.Mkdir(filepath.Join(root, "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i, size := range []int{0, 1, 1000, 300_000} {
		name := fmt.Sprintf("dir/file%d", i)
		content := []byte(strings.Repeat(string(rune('a'+i)), size))
		if err := os.WriteFile(filepath.Join(root, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
		want[name] = fmt.Sprintf("%d %x", size, sha256.Sum256(content))
	}

	s := start(t, config{root: root, workers: 3})
	const conns, rounds = 4, 10
	clients := make([]net.Conn, conns)
	for i := range clients {
		clients[i] = s.dial(t)
		for k := range rounds {
			for j := range names {
				ask(t, clients[i], names[(i*k+j)%len(names)])
			}
		}
	}
	for i, c := range clients {
		for k := range rounds {
			for j := range names {
				name := names[(i*k+j)%len(names)]
				if got := answer(t, c); got != want[name] {
					t.Fatalf("connection %d, round %d: %q for %q, want %q", i, k, got, name, want[name])
				}
			}
		}
		c.Close()
	}
	if err := s.stop(t); err != nil {
		t.Error(err)
	}
	if figures := fmt.Sprintf("requests %d, rejected 0,", conns*rounds*len(names)); !strings.Contains(s.out.String(), figures) {
		t.Errorf("%q was printed, want %q in it", s.out.String(), figures)
	}
}

// TestShutdownWhileAWorkerBlocks has one worker wait for a named pipe. The requests of
// another connection are answered meanwhile, and the end of the server waits for those
// behind the pipe.
func TestShutdownWhileAWorkerBlocks(t *testing.T) {
	root, pipe := withPipe(t)
	s := start(t, config{root: root, workers: 2})
	blocked, other := s.dial(t), s.dial(t)
	send(t, blocked, append(message("pipe"), message("file")...)) // in one segment: received together
	w := openPipe(t, pipe)
	const file = "4 98c1eb4ee93476743763878fcb96a25fbc9a175074d64004779ecb5242f645e6"
	for range 3 {
		ask(t, other, "file")
		if got := answer(t, other); got != file {
			t.Fatalf("%q beside the worker that waits, want %q", got, file)
		}
	}

	s.cancel()
	if rest, err := io.ReadAll(other); err != nil || len(rest) > 0 {
		t.Errorf("at the end: %q, %v; want the end of the stream", rest, err)
	}
	other.Close()
	if _, err := io.WriteString(w, "at last"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	piped := fmt.Sprintf("7 %x", sha256.Sum256([]byte("at last")))
	for _, want := range []string{piped, file} {
		if got := answer(t, blocked); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if rest, err := io.ReadAll(blocked); err != nil || len(rest) > 0 {
		t.Errorf("after the last reply: %q, %v; want the end of the stream", rest, err)
	}
	blocked.Close()
	if err := s.stop(t); err != nil {
		t.Error(err)
	}
	if !strings.Contains(s.out.String(), "requests 5, rejected 0,") {
		t.Errorf("%q was printed, want 5 requests", s.out.String())
	}
}

// TestOverload tolerates no delay at all. So the queue counts as too long from the second
// request on, and no file is opened any more: the pipe would never answer.
func TestOverload(t *testing.T) {
	root, _ := withPipe(t)
	s := start(t, config{root: root, workers: 1, delay: time.Nanosecond})
	c := s.dial(t)
	for i, name := range []string{"file", "pipe", "file", "pipe"} {
		ask(t, c, name)
		if got := answer(t, c); (got == "overloaded") != (i > 0) {
			t.Errorf("request %d: %q", i, got)
		}
	}
	c.Close()
	if err := s.stop(t); err != nil {
		t.Error(err)
	}
	if !strings.Contains(s.out.String(), "requests 4, rejected 3,") {
		t.Errorf("%q was printed, want 3 of 4 requests rejected", s.out.String())
	}
}

// TestNameTooLong checks that the longest name is answered and a longer one ends its
// connection.
func TestNameTooLong(t *testing.T) {
	s := start(t, config{root: t.TempDir(), workers: 1})
	c := s.dial(t)
	ask(t, c, strings.Repeat("n", maxName))
	if got, want := answer(t, c), "error: file name too long"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	ask(t, c, strings.Repeat("n", maxName+1))
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a name too long: %d bytes, %v; want the end", n, err)
	}
	c.Close()
	if err := s.stop(t); err != nil {
		t.Error(err)
	}
}

// TestCannotStart checks that what keeps the server from starting is said.
func TestCannotStart(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for name, c := range map[string]struct {
		config
		want error
	}{
		"address in use": {config{addr: ln.Addr().String(), root: ".", workers: 1}, syscall.EADDRINUSE},
		"no root":        {config{addr: "127.0.0.1:0", root: "no such directory", workers: 1}, syscall.ENOENT},
		"no workers":     {config{addr: "127.0.0.1:0", root: ".", workers: 0}, syscall.EINVAL},
		"negative delay": {config{addr: "127.0.0.1:0", root: ".", workers: 1, delay: -1}, syscall.EINVAL},
	} {
		if err := run(t.Context(), c.config, io.Discard); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// server is run in a goroutine.
type server struct {
	addr   string
	cancel context.CancelFunc
	out    strings.Builder // complete when it has ended
	ended  chan struct{}
	err    error
}

func start(t *testing.T, c config) *server {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &server{cancel: cancel, ended: make(chan struct{})}
	c.addr = "127.0.0.1:0"
	r, w := io.Pipe()
	go func() { w.CloseWithError(run(ctx, c, w)) }()
	listening := make(chan string, 1)
	go func() {
		defer close(s.ended)
		lines := bufio.NewReader(r)
		for {
			line, err := lines.ReadString('\n')
			if addr, ok := strings.CutPrefix(line, "listening "); ok {
				listening <- strings.TrimSpace(addr)
			}
			s.out.WriteString(line)
			if err != nil {
				s.err = err
				return
			}
		}
	}()
	select {
	case s.addr = <-listening:
	case <-s.ended:
		t.Fatalf("the server did not start: %v", s.err)
	}
	return s
}

// stop ends the server as a signal would and returns what run returned.
func (s *server) stop(t *testing.T) error {
	t.Helper()
	s.cancel()
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatal("the server did not end")
	}
	if s.err == io.EOF {
		return nil
	}
	return s.err
}

func (s *server) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

func message(payload string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

func send(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

func ask(t *testing.T, c net.Conn, name string) {
	t.Helper()
	send(t, c, message(name))
}

func answer(t *testing.T, c net.Conn) string {
	t.Helper()
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(c, text); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// withPipe makes a directory with a file of 4 bytes and a named pipe.
func withPipe(t *testing.T) (root, pipe string) {
	t.Helper()
	root = t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "file"), []byte("word"), 0o600); err != nil {
		t.Fatal(err)
	}
	pipe = filepath.Join(root, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	return root, pipe
}

// openPipe opens the pipe for writing, which waits until somebody has it open for
// reading. If nobody has, it takes that part itself and fails the test.
func openPipe(t *testing.T, pipe string) *os.File {
	t.Helper()
	opened := make(chan *os.File, 1)
	go func() {
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
		}
		opened <- w
	}()
	select {
	case w := <-opened:
		t.Cleanup(func() { w.Close() })
		return w
	case <-time.After(patience):
		if r, err := os.OpenFile(pipe, os.O_RDWR, 0); err == nil { // does not wait
			defer r.Close()
			(<-opened).Close()
		}
		t.Fatal("no worker has opened the pipe")
	}
	return nil
}
