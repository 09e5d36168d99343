//go:build linux

package main

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/internal/leak"
)

// The test executes itself again as the server.
const (
	envServer = "RESTART_TEST_SERVER"
	envFails  = "RESTART_TEST_FAILS" // the path of a file: while it is there a server fails to start
)

func TestMain(m *testing.M) {
	if os.Getenv(envServer) == "" {
		leak.Main(m)
	}
	if _, err := os.Stat(os.Getenv(envFails)); err == nil {
		os.Exit(3)
	}
	main()
	os.Exit(0)
}

const patience = 30 * time.Second

// TestRestart replaces the server twice under a stream of connects, of which none is
// refused, reset or left without its reply. A replacement that fails changes nothing.
func TestRestart(t *testing.T) {
	fails := filepath.Join(t.TempDir(), "fails")
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(os.Args[0], "-listen", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), envServer+"=1", envFails+"="+fails)
	cmd.Stdout, cmd.Stderr = stdout, os.Stderr
	err = cmd.Start()
	stdout.Close()
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 16)
	go func() {
		defer close(said)
		for s := bufio.NewScanner(out); s.Scan(); {
			if strings.HasPrefix(s.Text(), "process ") || strings.HasPrefix(s.Text(), "goes on: ") { // no note
				said <- s.Text()
			}
		}
	}()
	next := func() string {
		t.Helper()
		select {
		case line, ok := <-said:
			if !ok {
				t.Fatal("the servers have ended")
			}
			return line
		case <-time.After(patience):
			t.Fatal("the server says nothing")
		}
		return ""
	}
	addr := ""
	begins := func() (pid int) {
		t.Helper()
		words := strings.Fields(next())
		pid, err := strconv.Atoi(words[1])
		if err != nil || len(words) != 4 || words[2] != "listening" || addr != "" && words[3] != addr {
			t.Fatalf("the server says %q", words)
		}
		addr = words[3]
		return pid
	}
	server := begins()
	if server != cmd.Process.Pid {
		t.Errorf("process %d serves, want %d", server, cmd.Process.Pid)
	}
	defer func() { _ = syscall.Kill(server, syscall.SIGTERM) }() // ESRCH if it has ended

	stopped := make(chan struct{})
	stop := sync.OnceFunc(func() { close(stopped) })
	to := addr
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				if err := echo(to); err != nil {
					t.Errorf("a connection was lost: %v", err)
					return
				}
				select {
				case <-stopped:
					return
				default:
				}
			}
		})
	}
	defer wg.Wait()
	defer stop()

	if err := os.WriteFile(fails, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(server, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if line := next(); !strings.HasPrefix(line, "goes on: ") || !strings.Contains(line, "exit status 3") {
		t.Errorf("the server says %q, want why it goes on", line)
	}
	if err := os.Remove(fails); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := syscall.Kill(server, syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		old := server
		if server = begins(); server == old {
			t.Error("the process is the same")
		}
		if line, want := next(), "process "+strconv.Itoa(old)+" ends"; line != want {
			t.Errorf("the server says %q, want %q", line, want)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the first process: %v", err)
	}
	stop()
	wg.Wait()
	if err := syscall.Kill(server, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if line, want := next(), "process "+strconv.Itoa(server)+" ends"; line != want {
		t.Errorf("the server says %q, want %q", line, want)
	}
	for line := range said { // until the last process has closed its output
		t.Errorf("the server says %q", line)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("somebody still accepts connections")
	}
}

// echo connects and exchanges a message.
func echo(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	const hello = "\x00\x00\x00\x05hello"
	if _, err := io.WriteString(c, hello); err != nil {
		return err
	}
	b := make([]byte, len(hello))
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	if string(b) != hello {
		return io.ErrUnexpectedEOF
	}
	return nil
}
