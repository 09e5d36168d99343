package lowers

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/conformance"
)

// Conn is a lower and its peer.
type Conn struct {
	Lower, Peer End
	listener    int   // of a conn whose peer has not accepted it, else -1
	others      []int // descriptors of the connection that is in its way
}

// Do carries out an action on at, which is one of the ends. settle waits until all that has been
// set going is done.
func (c *Conn) Do(at *End, a *conformance.Action, settle func()) string {
	if a.Verb == "accept" {
		return c.accept(settle)
	}
	if at.FD < 0 {
		return fmt.Sprintf("no %s %d", a.Object, a.N)
	}
	switch a.Verb {
	case "write":
		return at.Write(a.Data.Bytes(), settle)
	case "read", "drain":
		b, end := at.Read(settle)
		return Stream(b, end, a)
	}
	defer settle()
	switch a.Verb {
	case "fin":
		return Name(unix.Shutdown(at.FD, unix.SHUT_WR))
	case "reset":
		return at.Reset()
	case "close":
		return at.Close()
	}
	return Descriptor(at.FD, a)
}

// Stream returns the outcome of a, read or drain, that got b and then the end.
func Stream(b []byte, end string, a *conformance.Action) string {
	text := conformance.Describe(b)
	if a.Verb == "drain" {
		text = conformance.DescribeWhole(b)
	}
	if text = conformance.Join(text, end); text == "" {
		text = "nothing"
	}
	return text
}

// Descriptor carries out what works on any descriptor.
func Descriptor(fd int, a *conformance.Action) string {
	switch a.Verb {
	case "set":
		return set(fd, a.Words[0], a.Numbers[0])
	case "error":
		v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			return "getsockopt: " + Name(err)
		case v == 0:
			return "none"
		}
		return ErrnoName(unix.Errno(v))
	case "poll":
		return poll(fd)
	}
	return "not supported"
}

// set sets an option of the level SOL_SOCKET.
func set(fd int, option string, value int) string {
	ints := map[string]int{"rcvbuf": unix.SO_RCVBUF, "sndbuf": unix.SO_SNDBUF, "rcvlowat": unix.SO_RCVLOWAT}
	if opt, ok := ints[option]; ok {
		return Name(unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, value))
	}
	opt := unix.SO_RCVTIMEO
	if option == "sndtimeo" {
		opt = unix.SO_SNDTIMEO
	}
	tv := unix.NsecToTimeval(int64(value) * int64(time.Millisecond))
	return Name(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, opt, &tv))
}

func poll(fd int) string {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLOUT | unix.POLLRDHUP}}
	if _, err := unix.Poll(p, 0); err != nil {
		return Name(err)
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

// Open makes a conn of the kind.
func Open(kind string, settle func()) (*Conn, error) {
	c := &Conn{Lower: End{FD: -1}, Peer: End{FD: -1}, listener: -1}
	var err error
	switch kind {
	case "tcp":
		err = c.connect(&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	case "tcp6":
		err = c.connect(&unix.SockaddrInet6{Addr: [16]byte{15: 1}})
	case "connecting":
		err = c.begin(settle)
	case "listening":
		c.Lower.FD, _, err = listen(&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, 1)
	case "unconnected":
		c.Lower.FD, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	case "udp":
		if c.Lower.FD, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err == nil {
			err = unix.Connect(c.Lower.FD, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9})
		}
	case "unix":
		var p [2]int
		p, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		c.Lower.FD, c.Peer.FD = p[0], p[1]
	case "file":
		c.Lower.FD, err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
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
func (c *Conn) connect(addr unix.Sockaddr) error {
	l, addr, err := listen(addr, 1)
	if err != nil {
		return err
	}
	defer unix.Close(l)
	if c.Lower.FD, err = dial(addr, true); err != nil {
		return err
	}
	return c.take(l)
}

func (c *Conn) take(listener int) error {
	fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return err
	}
	c.Peer.FD = fd
	return unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_NODELAY, 1)
}

// begin makes a lower that cannot connect: a listener with a backlog of 0 has room for one
// connection, and that one is another.
func (c *Conn) begin(settle func()) error {
	l, addr, err := listen(&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, 0)
	if err != nil {
		return err
	}
	c.listener = l
	other, err := dial(addr, true)
	if err != nil {
		return err
	}
	c.others = append(c.others, other)
	settle()
	c.Lower.FD, err = dial(addr, false)
	return err
}

// accept makes room at the listener, and waits until the lower has sent its SYN again.
func (c *Conn) accept(settle func()) string {
	if c.listener < 0 {
		return "no listener"
	}
	defer settle()
	other, _, err := unix.Accept4(c.listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return Name(err)
	}
	c.others = append(c.others, other)
	err = c.take(c.listener)
	unix.Close(c.listener)
	c.listener = -1
	return Name(err)
}

// Close closes what is open, at the end of a script.
func (c *Conn) Close() {
	for _, d := range []*End{&c.Lower, &c.Peer} {
		if d.FD >= 0 {
			d.Close()
		}
	}
	if c.listener >= 0 {
		unix.Close(c.listener)
	}
	for _, fd := range c.others {
		unix.Close(fd)
	}
}
