package kernel

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/conformance"
)

// conn is a lower and its peer; fds are -1 where there is nothing.
type conn struct {
	lower, peer end
	listener    int // of a conn whose peer has not accepted it, else -1
}

// doLower carries out an action on a conn or a peer.
func (e *Engine) doLower(c *conn, a *conformance.Action) string {
	at := &c.lower
	if a.Object == conformance.Peer {
		at = &c.peer
	}
	if a.Verb == "accept" {
		return c.accept()
	}
	if at.fd < 0 {
		return fmt.Sprintf("no %s %d", a.Object, a.N)
	}
	switch a.Verb {
	case "write":
		return at.write(a.Data.Bytes())
	case "read", "drain":
		b, end := at.read()
		text := conformance.Describe(b)
		if a.Verb == "drain" {
			text = conformance.DescribeWhole(b)
		}
		if text = join(text, end); text == "" {
			text = "nothing"
		}
		return text
	}
	defer settle()
	switch a.Verb {
	case "fin":
		return name(unix.Shutdown(at.fd, unix.SHUT_WR))
	case "reset":
		if err := unix.SetsockoptLinger(at.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			return name(err)
		}
		return at.close()
	case "close":
		return at.close()
	}
	return descriptor(at.fd, a)
}

// descriptor carries out what works on any descriptor.
func descriptor(fd int, a *conformance.Action) string {
	switch a.Verb {
	case "set":
		return set(fd, a.Words[0], a.Numbers[0])
	case "error":
		v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			return "getsockopt: " + name(err)
		case v == 0:
			return "none"
		}
		return errnoName(unix.Errno(v))
	case "poll":
		return poll(fd)
	}
	return "not supported"
}

// set sets an option of the level SOL_SOCKET.
func set(fd int, option string, value int) string {
	ints := map[string]int{"rcvbuf": unix.SO_RCVBUF, "sndbuf": unix.SO_SNDBUF, "rcvlowat": unix.SO_RCVLOWAT}
	if opt, ok := ints[option]; ok {
		return name(unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, value))
	}
	opt := unix.SO_RCVTIMEO
	if option == "sndtimeo" {
		opt = unix.SO_SNDTIMEO
	}
	tv := unix.NsecToTimeval(int64(value) * int64(time.Millisecond))
	return name(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, opt, &tv))
}

func poll(fd int) string {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLOUT | unix.POLLRDHUP}}
	if _, err := unix.Poll(p, 0); err != nil {
		return name(err)
	}
	var set []string
	for _, e := range []struct {
		bit  int16
		name string
	}{
		{unix.POLLIN, "in"}, {unix.POLLOUT, "out"}, {unix.POLLERR, "err"}, {unix.POLLHUP, "hup"},
		{unix.POLLRDHUP, "rdhup"}, {unix.POLLNVAL, "nval"},
	} {
		if p[0].Revents&e.bit != 0 {
			set = append(set, e.name)
		}
	}
	if set == nil {
		return "nothing"
	}
	return strings.Join(set, " ")
}

// openConn makes a conn of the kind.
func openConn(kind string) (*conn, error) {
	c := &conn{lower: end{fd: -1}, peer: end{fd: -1}, listener: -1}
	var err error
	switch kind {
	case "tcp":
		err = c.connect(&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	case "tcp6":
		err = c.connect(&unix.SockaddrInet6{Addr: [16]byte{15: 1}})
	case "connecting":
		err = c.begin()
	case "listening":
		c.lower.fd, _, err = listen(&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, 1)
	case "unconnected":
		c.lower.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	case "udp":
		if c.lower.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err == nil {
			err = unix.Connect(c.lower.fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9})
		}
	case "unix":
		var p [2]int
		p, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		c.lower.fd, c.peer.fd = p[0], p[1]
	case "file":
		c.lower.fd, err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	case "none": // a number that no descriptor has
	}
	return c, err
}

// listen returns a listening socket and its address.
func listen(addr unix.Sockaddr, backlog int) (int, unix.Sockaddr, error) {
	family := unix.AF_INET
	if _, ok := addr.(*unix.SockaddrInet6); ok {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, err
	}
	if err = unix.Bind(fd, addr); err == nil {
		if err = unix.Listen(fd, backlog); err == nil {
			if addr, err = unix.Getsockname(fd); err == nil {
				return fd, addr, nil
			}
		}
	}
	unix.Close(fd)
	return -1, nil, err
}

// dial begins a connection to addr, and waits for it if told so.
func dial(addr unix.Sockaddr, wait bool) (int, error) {
	family, mode := unix.AF_INET, unix.SOCK_NONBLOCK
	if _, ok := addr.(*unix.SockaddrInet6); ok {
		family = unix.AF_INET6
	}
	if wait {
		mode = 0
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|mode, 0)
	if err != nil {
		return -1, err
	}
	if err = unix.Connect(fd, addr); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, err
	}
	return fd, unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_NODELAY, 1)
}

// connect makes both ends.
func (c *conn) connect(addr unix.Sockaddr) error {
	l, addr, err := listen(addr, 1)
	if err != nil {
		return err
	}
	defer unix.Close(l)
	if c.lower.fd, err = dial(addr, true); err != nil {
		return err
	}
	return c.take(l)
}

func (c *conn) take(listener int) error {
	fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return err
	}
	c.peer.fd = fd
	return unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_NODELAY, 1)
}

// begin makes a lower that cannot connect: a listener with a backlog of 0 has room for one
// connection, and that one is another.
func (c *conn) begin() error {
	l, addr, err := listen(&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, 0)
	if err != nil {
		return err
	}
	c.listener = l
	if _, err = dial(addr, true); err != nil {
		return err
	}
	settle()
	c.lower.fd, err = dial(addr, false)
	return err
}

// accept makes room at the listener, and waits until the lower has sent its SYN again.
func (c *conn) accept() string {
	if c.listener < 0 {
		return "no listener"
	}
	defer settle()
	if _, _, err := unix.Accept4(c.listener, unix.SOCK_CLOEXEC); err != nil {
		return name(err)
	}
	err := c.take(c.listener)
	unix.Close(c.listener)
	c.listener = -1
	return name(err)
}
