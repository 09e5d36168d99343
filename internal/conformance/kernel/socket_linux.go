package kernel

import (
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/conformance"
	"github.com/kcm-go/kcm/internal/conformance/lowers"
)

// socket is a message socket. fd is -1 when it is closed.
type socket struct {
	fd  int
	mux *mux
}

// doSocket carries out an action on a socket.
func (e *Engine) doSocket(s *socket, a *conformance.Action) string {
	switch a.Verb {
	case "send":
		return e.send(s, a)
	case "recv":
		return e.recv(s, a)
	case "stats":
		return e.stats(s.mux, a)
	}
	defer settle()
	switch a.Verb {
	case "clone":
		c, err := unix.IoctlKCMClone(s.fd)
		if err != nil {
			return lowers.Name(err)
		}
		return e.add(int(c.Fd), s.mux)
	case "attach":
		parser := conformance.Parsers[0]
		if len(a.Words) > 0 {
			parser = a.Words[0]
		}
		prog, err := e.program(parser)
		if err != nil {
			return "program: " + lowers.Name(err)
		}
		return e.withTarget(a, func(fd int) error {
			return unix.IoctlKCMAttach(s.fd, unix.KCMAttach{Fd: int32(fd), Bpf_fd: int32(prog)})
		})
	case "unattach":
		return e.withTarget(a, func(fd int) error {
			return unix.IoctlKCMUnattach(s.fd, unix.KCMUnattach{Fd: int32(fd)})
		})
	case "sendeach":
		return sendEach(s.fd, a)
	case "splice":
		return splice(s.fd, a)
	case "disable", "enable":
		v := 0
		if a.Verb == "disable" {
			v = 1
		}
		return lowers.Name(unix.SetsockoptInt(s.fd, unix.SOL_KCM, unix.KCM_RECV_DISABLE, v))
	case "setsockopt":
		value := binary.LittleEndian.AppendUint64(nil, uint64(a.Numbers[2]))
		size := min(a.Numbers[1], len(value))
		return lowers.Name(unix.SetsockoptString(s.fd, level(a.Words[0]), a.Numbers[0], string(value[:size])))
	case "getsockopt":
		b := make([]byte, 8)
		n, err := getsockopt(s.fd, level(a.Words[0]), a.Numbers[0], b[:min(a.Numbers[1], len(b))])
		if err != nil {
			return lowers.Name(err)
		}
		return fmt.Sprintf("%d in %d bytes", binary.LittleEndian.Uint64(b), n)
	case "try":
		return try(s.fd, a.Words[0])
	case "close":
		if s.fd < 0 {
			return lowers.Name(unix.EBADF)
		}
		err := unix.Close(s.fd)
		s.fd = -1
		if s.mux.sockets--; s.mux.sockets == 0 {
			e.muxes = slices.DeleteFunc(e.muxes, func(m *mux) bool { return m == s.mux })
		}
		return lowers.Name(err)
	}
	return lowers.Descriptor(s.fd, a)
}

// level returns the level of a socket option.
func level(word string) int {
	if word == "kcm" {
		return unix.SOL_KCM
	}
	return unix.SOL_TCP
}

// withTarget calls f with the descriptor of the action's target.
func (e *Engine) withTarget(a *conformance.Action, f func(fd int) error) string {
	n := a.TargetN
	switch {
	case a.Target == conformance.Socket && n <= len(e.sockets):
		return lowers.Name(f(e.sockets[n-1].fd))
	case a.Target == conformance.Conn && n <= len(e.conns):
		return lowers.Name(f(e.conns[n-1].Lower.FD))
	}
	return fmt.Sprintf("no %s %d", a.Target, n)
}

// send makes one sendmsg.
func (e *Engine) send(s *socket, a *conformance.Action) string {
	flags := unix.MSG_NOSIGNAL
	for _, f := range a.Flags {
		flags |= map[string]int{"more": unix.MSG_MORE, "eor": unix.MSG_EOR, "batch": unix.MSG_BATCH, "oob": unix.MSG_OOB}[f]
	}
	parts := [][]byte{a.Data.Bytes()}
	if a.Has("fault") {
		hole, err := unix.Mmap(-1, 0, 4096, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return "mmap: " + lowers.Name(err)
		}
		parts = append(parts, hole)
	}
	send := func(flags int) string {
		n, err := unix.SendmsgBuffers(s.fd, parts, nil, nil, flags)
		if err != nil {
			return lowers.Name(err)
		}
		return fmt.Sprint(n)
	}
	if a.Has("wait") {
		return e.call(func() string { return send(flags) })
	}
	defer settle()
	return send(flags | unix.MSG_DONTWAIT)
}

// sendEach makes one sendmmsg.
func sendEach(fd int, a *conformance.Action) string {
	flags := unix.MSG_NOSIGNAL | unix.MSG_DONTWAIT
	if a.Has("batch") {
		flags |= unix.MSG_BATCH
	}
	var msgs [][]byte
	for _, p := range a.Data {
		msgs = append(msgs, p.Bytes())
	}
	n, err := sendmmsg(fd, msgs, flags)
	if err != nil {
		return lowers.Name(err)
	}
	return fmt.Sprintf("%d messages", n)
}

// recv makes one recvmsg.
func (e *Engine) recv(s *socket, a *conformance.Action) string {
	flags := 0
	for _, f := range a.Flags {
		flags |= map[string]int{"peek": unix.MSG_PEEK, "trunc": unix.MSG_TRUNC, "waitall": unix.MSG_WAITALL}[f]
	}
	b := make([]byte, a.Numbers[0])
	if a.Has("fault") {
		hole, err := unix.Mmap(-1, 0, max(1, len(b)), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return "mmap: " + lowers.Name(err)
		}
		b = hole
	}
	recv := func(flags int) string {
		n, _, got, from, err := unix.Recvmsg(s.fd, b, nil, flags)
		if err != nil {
			return lowers.Name(err)
		}
		out := fmt.Sprint(n)
		for _, f := range []struct {
			bit  int
			name string
		}{{unix.MSG_EOR, "eor"}, {unix.MSG_TRUNC, "trunc"}} {
			if got&f.bit != 0 {
				out += " " + f.name
				got &^= f.bit
			}
		}
		if got != 0 {
			out += fmt.Sprintf(" flags %#x", got)
		}
		if from != nil {
			out += fmt.Sprintf(" from %v", from)
		}
		return conformance.Join(out, conformance.Describe(b[:n]))
	}
	if a.Has("wait") {
		return e.call(func() string { return recv(flags) })
	}
	defer settle()
	return recv(flags | unix.MSG_DONTWAIT)
}

// splice moves bytes into a pipe and reads them from there.
func splice(fd int, a *conformance.Action) string {
	n, flags := a.Numbers[0], 0
	if a.Has("nonblock") {
		flags = unix.SPLICE_F_NONBLOCK
	}
	var p [2]int
	// Were the pipe non-blocking the splice would be so too.
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return "pipe: " + lowers.Name(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	moved, err := unix.Splice(fd, nil, p[1], nil, n, flags)
	if err != nil {
		return lowers.Name(err)
	}
	b := make([]byte, n)
	got := 0
	if moved > 0 {
		if got, err = unix.Read(p[0], b); err != nil {
			return "pipe: " + lowers.Name(err)
		}
	}
	return conformance.Join(fmt.Sprint(moved), conformance.Describe(b[:got]))
}

// try makes a call that sockets may not support.
func try(fd int, call string) string {
	var err error
	switch call {
	case "bind":
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	case "connect":
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9})
	case "listen":
		err = unix.Listen(fd, 1)
	case "accept":
		_, _, err = unix.Accept4(fd, unix.SOCK_CLOEXEC)
	case "getsockname":
		_, err = unix.Getsockname(fd)
	case "getpeername":
		_, err = unix.Getpeername(fd)
	case "shutdown":
		err = unix.Shutdown(fd, unix.SHUT_RDWR)
	case "socketpair":
		_, err = unix.Socketpair(unix.AF_KCM, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.KCMPROTO_CONNECTED)
	case "fionread":
		_, err = unix.IoctlGetInt(fd, unix.TIOCINQ)
	case "ioctl": // a number that nobody uses
		err = unix.IoctlSetInt(fd, 0xf501, 0)
	case "badarg": // an address where nothing is
		err = unix.IoctlSetInt(fd, unix.SIOCKCMCLONE, 1)
	case "mmap":
		_, err = unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	default:
		return "not supported"
	}
	return lowers.Name(err)
}
