//go:build linux

package rig

import (
	"context"
	"net"
	"os"
	"testing"
	"time"
)

// connect returns when the server has all connections, and says so if it never has.
func TestConnect(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	// This process has the clients' descriptors too, so there are soon enough of them.
	list, err := connect(t.Context(), os.Getpid(), ln.Addr().String(), 30)
	if err != nil || len(list) != 30 {
		t.Fatalf("%d connections, %v", len(list), err)
	}
	list.close()

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := connect(ctx, 1<<30, ln.Addr().String(), 1); err == nil {
		t.Error("a process that is not there has connections")
	}
	ln.Close()
	if _, err := connect(t.Context(), os.Getpid(), ln.Addr().String(), 1); err == nil {
		t.Error("nobody listens, and there is a connection")
	}
}
