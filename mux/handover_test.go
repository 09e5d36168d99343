//go:build linux

package mux_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// These tests execute the test binary again: TestServerProcess is what runs there.

const (
	envServer = "KCM_TEST_SERVER" // the back end of the server process
	envReady  = "KCM_TEST_READY"  // the descriptor on which it says that it serves
)

// serverProcess returns the command of a server process, whose standard input says what it
// is to do.
func serverProcess(ctx context.Context, b ring.Backend, stdin, stdout *os.File) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestServerProcess$", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", envServer, b))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, os.Stderr
	return cmd
}

// say writes a line of the server process.
func say(format string, args ...any) {
	fmt.Printf("\nserver: %d "+format+"\n", append([]any{os.Getpid()}, args...)...)
}

// TestServerProcess is a server with inherited listeners. It answers each message with the
// number of its process. An r on standard input makes it hand over to a new one, an e makes
// it end.
func TestServerProcess(t *testing.T) {
	backend := os.Getenv(envServer)
	if backend == "" {
		t.Skip("other tests run it in a process of its own")
	}
	b, err := strconv.Atoi(backend)
	if err != nil {
		t.Fatal(err)
	}
	lns, err := mux.InheritedListeners()
	if err != nil {
		say("failed %v", err)
		return
	}
	m, err := mux.New(mux.Options{Format: strparser.Length32, Loops: 2, Ring: ring.Options{Backend: ring.Backend(b)}})
	if err != nil {
		t.Fatal(err)
	}
	m.Handle(func(p *mux.Psock, msg *sgmsg.Message) mux.Verdict {
		if err := p.SendPayload([]byte(strconv.Itoa(os.Getpid()))); err != nil {
			t.Error(err)
		}
		return mux.Done
	})
	var wg sync.WaitGroup
	var all []net.Listener
	for _, ln := range lns {
		all = append(all, ln)
		wg.Go(func() {
			if err := m.Serve(ln); err != mux.ErrClosed {
				t.Errorf("Serve: %v", err)
			}
		})
		say("serves %s %s", ln.Name, ln.Addr().Network())
	}
	say("ready")
	if ready, err := strconv.Atoi(os.Getenv(envReady)); err == nil {
		f := os.NewFile(uintptr(ready), "ready")
		if _, err := f.WriteString("1"); err != nil {
			t.Error(err)
		}
		f.Close()
	}
	var order [1]byte
	if _, err := os.Stdin.Read(order[:]); err != nil && err != io.EOF {
		t.Error(err)
	}
	if order[0] == 'r' {
		handOver(t, ring.Backend(b), all)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := m.Retire(ctx); err != nil {
		t.Errorf("Retire: %v", err)
	}
	if err := m.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	wg.Wait()
	if !t.Failed() {
		say("ended")
	}
}

// handOver starts a new server process and waits until it serves.
func handOver(t *testing.T, b ring.Backend, lns []net.Listener) {
	cmd := serverProcess(context.Background(), b, os.Stdin, os.Stdout)
	if err := mux.HandOver(cmd, lns...); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.ExtraFiles = append(cmd.ExtraFiles, w)
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", envReady, 2+len(cmd.ExtraFiles)))
	err = cmd.Start()
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Release(); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
		t.Fatalf("the new process does not serve: %v", err)
	}
}

// lines reads what server processes say, until all have ended.
func lines(r io.Reader) <-chan []string {
	ch := make(chan []string, 64)
	go func() {
		defer close(ch)
		for s := bufio.NewScanner(r); s.Scan(); {
			if line, ok := strings.CutPrefix(s.Text(), "server: "); ok {
				ch <- strings.Fields(line)
			}
		}
	}()
	return ch
}

// next waits for a line that is not that of a listener.
func next(t *testing.T, said <-chan []string) []string {
	t.Helper()
	for {
		select {
		case line, ok := <-said:
			if !ok {
				t.Fatal("the server processes have ended")
			}
			if line[1] != "serves" {
				return line
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the server process says nothing")
		}
	}
}

// ask connects, sends a message and returns the number of the process that answers.
func ask(network, addr string) (string, error) {
	c, err := net.Dial(network, addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return askOn(c)
}

func askOn(c net.Conn) (string, error) {
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "\x00\x00\x00\x03who"); err != nil {
		return "", err
	}
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return "", err
	}
	b := make([]byte, head[3])
	_, err := io.ReadFull(c, b)
	return string(b), err
}

// A process hands its listeners over to another one under a stream of connects, TCP and
// unix: none is refused, reset or left without an answer. A connection that was there
// before stays with the old process until it ends.
func TestRestartLosesNoConnection(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer tcp.Close()
		path := filepath.Join(t.TempDir(), "socket")
		local, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer local.Close()
		stdin, orders, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer orders.Close() // at the end of it the processes end
		out, stdout, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		first := serverProcess(t.Context(), b, stdin, stdout)
		if err := mux.HandOver(first, mux.InheritedListener{Name: "web", Listener: tcp}, mux.InheritedListener{Name: "local", Listener: local}); err != nil {
			t.Fatal(err)
		}
		err = first.Start()
		for _, f := range append(first.ExtraFiles, stdin, stdout) {
			f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		tcp.Close()
		local.Close()
		said := lines(out)
		old := next(t, said)
		if old[1] != "ready" || old[0] != strconv.Itoa(first.Process.Pid) {
			t.Fatalf("the server process says %v", old)
		}

		stopped := make(chan struct{})
		stop := sync.OnceFunc(func() { close(stopped) })
		answers := make(chan string, 1)
		var wg sync.WaitGroup
		for i := range 4 {
			network, addr := "tcp", tcp.Addr().String()
			if i%2 == 1 {
				network, addr = "unix", path
			}
			wg.Go(func() {
				for {
					pid, err := ask(network, addr)
					if err != nil {
						t.Errorf("a connection was lost: %v", err)
						return
					}
					select {
					case answers <- pid:
					case <-stopped:
						return
					}
				}
			})
		}
		defer wg.Wait()
		defer stop()
		from := func(want string, n int) {
			t.Helper()
			for n > 0 {
				select {
				case pid := <-answers:
					if pid == want {
						n--
					}
				case <-time.After(30 * time.Second):
					t.Fatal("no answer")
				}
			}
		}
		from(old[0], 200)
		long, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer long.Close()
		if pid, err := askOn(long); err != nil || pid != old[0] {
			t.Fatalf("%s answers, %v", pid, err)
		}
		if _, err := io.WriteString(orders, "r"); err != nil {
			t.Fatal(err)
		}
		// Answers go on coming meanwhile.
		var fresh []string
		for fresh == nil {
			select {
			case line := <-said:
				if line[1] == "ready" {
					fresh = line
				}
			case <-answers:
			case <-time.After(30 * time.Second):
				t.Fatal("the new process does not start")
			}
		}
		from(fresh[0], 200)
		if pid, err := askOn(long); err != nil || pid != old[0] {
			t.Errorf("on a connection from before %s answers, %v", pid, err)
		}
		long.Close()
		if line := next(t, said); line[0] != old[0] || line[1] != "ended" {
			t.Errorf("the server processes say %v, want the end of %s", line, old[0])
		}
		if err := first.Wait(); err != nil {
			t.Errorf("the old process: %v", err)
		}
		from(fresh[0], 200)
		stop()
		wg.Wait()
		if _, err := io.WriteString(orders, "e"); err != nil {
			t.Fatal(err)
		}
		if line := next(t, said); line[0] != fresh[0] || line[1] != "ended" {
			t.Errorf("the server processes say %v, want the end of %s", line, fresh[0])
		}
		if line, ok := <-said; ok {
			t.Errorf("the server processes say %v behind their end", line)
		}
	})
}

// As systemd does it: the descriptors from 3 on, the process's own number in LISTEN_PID,
// which the shell keeps when it executes the program. With another number they are not
// ours, and a descriptor that is no listening socket is named.
func TestSocketActivation(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	sock, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for name, test := range map[string]struct {
		pid  string
		file *os.File
		want string
	}{
		"ours":      {"$$", sock, "serves web tcp"},
		"another's": {"1", sock, "ready"},
		"no socket": {"$$", null, "failed inherit: descriptor 3 (web): socket operation on non-socket"},
	} {
		t.Run(name, func(t *testing.T) {
			stdin, orders, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer orders.Close()
			out, stdout, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			cmd := serverProcess(t.Context(), ring.Epoll, stdin, stdout)
			script := "LISTEN_PID=" + test.pid + ` LISTEN_FDS=1 LISTEN_FDNAMES=web exec "$0" "$@"`
			cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", script}, cmd.Args...)
			cmd.ExtraFiles = []*os.File{test.file}
			err = cmd.Start()
			stdin.Close()
			stdout.Close()
			if err != nil {
				t.Fatal(err)
			}
			said := lines(out)
			select {
			case line := <-said:
				if got := strings.Join(line[min(1, len(line)):], " "); got != test.want {
					t.Errorf("the server process says %q, want %q", got, test.want)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("the server process says nothing")
			}
			if name == "ours" {
				if pid, err := ask("tcp", ln.Addr().String()); err != nil || pid != strconv.Itoa(cmd.Process.Pid) {
					t.Errorf("process %q answers, %v; want %d", pid, err, cmd.Process.Pid)
				}
			}
			orders.Close()
			for range said {
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
