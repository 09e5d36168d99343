package rig

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"
)

// idle is connections on which nothing is sent.
type idle []net.Conn

// connect makes n connections and waits until the server with that process id has accepted
// them, which is seen by its descriptors, so that making them is not in its CPU time.
func connect(ctx context.Context, pid int, addr string, n int) (list idle, err error) {
	defer func() {
		if err != nil {
			list.close()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, idleTime)
	defer cancel()
	var d net.Dialer
	for len(list) < n {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return list, fmt.Errorf("idle connection %d of %d: %w", len(list)+1, n, err)
		}
		list = append(list, c)
	}
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			return list, err
		}
		if len(fds) >= n {
			tick.Stop()
			return list, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return list, fmt.Errorf("the server has %d descriptors after %d connections: %w", len(fds), n, ctx.Err())
		}
	}
}

// idleTime is how long it may take.
const idleTime = 20 * time.Second

func (list idle) close() {
	for _, c := range list {
		_ = c.Close()
	}
}
