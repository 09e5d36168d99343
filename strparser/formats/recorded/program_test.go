package recorded

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// program starts a server that listens on a unix socket, with the arguments that args
// makes of the socket's path, and ends it with the test. What it returns connects to it.
// The test is skipped if there is no such program.
func program(t *testing.T, name string, args func(socket string) []string) (dial func() net.Conn) {
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip(err)
	}
	// Not TempDir, which has the test's name in it: the path of a socket has to be short.
	dir, err := os.MkdirTemp("", "kcm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "socket")
	server := exec.Command(path, args(socket)...)
	server.Dir, server.Stderr = dir, os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	return func() net.Conn {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}
