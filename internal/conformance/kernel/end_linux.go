package kernel

import (
	"sync"

	"golang.org/x/sys/unix"
)

// end is one end of a connection. What is written to it is sent as the other end makes room,
// by a goroutine that runs while there is something to send.
type end struct {
	fd int

	mu      sync.Mutex
	queue   []byte
	running bool
	closed  bool
	err     error
}

// write sends b, or begins to.
func (d *end) write(b []byte) string {
	d.mu.Lock()
	d.queue = append(d.queue, b...)
	d.err = nil
	if !d.running {
		d.running = true
		go d.run()
	}
	d.mu.Unlock()
	settle()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running {
		return "blocked"
	}
	return name(d.err)
}

// run sends the queue. It never waits in a send, so that closing takes effect.
func (d *end) run() {
	for {
		d.mu.Lock()
		if len(d.queue) == 0 || d.closed {
			d.running = false
			d.mu.Unlock()
			return
		}
		n, err := unix.SendmsgN(d.fd, d.queue, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err == nil {
			d.queue = d.queue[n:]
		} else if err != unix.EAGAIN {
			d.err, d.queue = err, nil
		}
		fd := d.fd
		d.mu.Unlock()
		if err == unix.EAGAIN {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
			_, _ = unix.Poll(p, 2) // whatever it says, the send is tried again
		}
	}
}

// close closes the descriptor.
func (d *end) close() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	err := unix.Close(d.fd)
	d.fd = -1
	return name(err)
}

// read reads until nothing has come for a while, and says how the stream ended if it did.
func (d *end) read() ([]byte, string) {
	var all []byte
	buf := make([]byte, 64<<10)
	for idle := 0; ; {
		n, _, err := unix.Recvfrom(d.fd, buf, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN && idle == 2:
			return all, ""
		case err == unix.EAGAIN:
			settle()
			idle++
		case err != nil:
			return all, name(err)
		case n == 0:
			return all, "eof"
		default:
			all = append(all, buf[:n]...)
			idle = 0
		}
	}
}
