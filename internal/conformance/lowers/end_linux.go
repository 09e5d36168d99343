package lowers

import (
	"sync"

	"golang.org/x/sys/unix"
)

// End is one end of a connection, -1 where there is none. What is written to it is sent as
// the other end makes room, by a goroutine that runs while there is something to send. Its
// methods are for one goroutine.
type End struct {
	FD int

	mu      sync.Mutex
	queue   []byte
	running bool
	closed  bool
	err     error
}

// Write sends b, or begins to, and returns the outcome. settle waits until all that has been
// set going is done.
func (d *End) Write(b []byte, settle func()) string {
	d.mu.Lock()
	d.queue = append(d.queue, b...)
	d.err = nil
	if !d.running && d.send() {
		d.running = true
		go d.run()
	}
	d.mu.Unlock()
	settle()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) > 0 {
		return "blocked"
	}
	return Name(d.err)
}

// send sends of the queue what there is room for, and reports whether something is left. It never
// waits, so that closing takes effect.
func (d *End) send() (left bool) {
	for len(d.queue) > 0 && !d.closed {
		n, err := unix.SendmsgN(d.FD, d.queue, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch {
		case err == unix.EAGAIN:
			return true
		case err != nil:
			d.err, d.queue = err, nil
		default:
			d.queue = d.queue[n:]
		}
	}
	return false
}

// run sends the queue as room is made.
func (d *End) run() {
	for {
		d.mu.Lock()
		fd := d.FD
		if !d.send() {
			d.running = false
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		_, _ = unix.Poll(p, 2) // whatever it says, the send is tried again
	}
}

// Close closes the descriptor.
func (d *End) Close() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	err := unix.Close(d.FD)
	d.FD = -1
	return Name(err)
}

// Left returns how many bytes of what was written have not been given to the descriptor.
func (d *End) Left() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.queue)
}

// Read reads until nothing more comes when all has settled, and says how the stream ended if it
// did.
func (d *End) Read(settle func()) ([]byte, string) {
	var all []byte
	buf := make([]byte, 64<<10)
	for idle := 0; ; {
		n, _, err := unix.Recvfrom(d.FD, buf, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN && idle == 2:
			return all, ""
		case err == unix.EAGAIN:
			settle()
			idle++
		case err != nil:
			return all, Name(err)
		case n == 0:
			return all, "eof"
		default:
			all = append(all, buf[:n]...)
			idle = 0
		}
	}
}

// Reset closes the descriptor with an RST.
func (d *End) Reset() string {
	if err := unix.SetsockoptLinger(d.FD, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return Name(err)
	}
	return d.Close()
}
