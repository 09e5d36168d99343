package ringtest

import (
	"fmt"
	"net/netip"
	"syscall"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// Listen returns a listening descriptor for a loop, not attached. name is an IP
// address with port (port 0: a free one) or the path of a unix socket, which
// needs no file; see [ParseAddr]. The error wraps EADDRINUSE.
func (s *Sim) Listen(name string) (fd int, err error) {
	k := &socket{sim: s, kind: kindListener}
	if err := s.bind(k, ParseAddr(name)); err != nil {
		return -1, fmt.Errorf("listen: %w", err)
	}
	return s.open(k), nil
}

// Name returns the local name of a descriptor in the form that Listen and Dial
// take.
func (s *Sim) Name(fd int) string {
	k := s.sock(fd)
	switch {
	case k == nil:
		return ""
	case k.local.IP.IsValid():
		return k.local.IP.String()
	}
	return k.local.Path
}

func (s *Sim) bind(k *socket, a backend.Addr) error {
	if a.IP.IsValid() && a.IP.Port() == 0 {
		a = s.ephemeral(a.IP.Addr())
	}
	if s.names[a] != nil {
		return syscall.EADDRINUSE
	}
	s.names[a] = k
	k.local = a
	return nil
}

// Dial connects a far end of the test to a listener. The connection waits in
// the backlog at once; the error wraps ECONNREFUSED if there is no listener or
// no room. Faults do not touch it.
func (s *Sim) Dial(name string) (*Peer, error) {
	k := &socket{sim: s, to: ParseAddr(name)}
	if e := k.meet(); e != 0 {
		return nil, fmt.Errorf("dial %s: %w", name, e)
	}
	return &Peer{k}, nil
}

// meet puts a connection from k in the backlog of the listener it asks for.
func (k *socket) meet() syscall.Errno {
	s := k.sim
	l := s.names[k.to]
	if l == nil || l.kind != kindListener || l.rdShut || len(l.backlog) >= s.opt.Backlog {
		return syscall.ECONNREFUSED
	}
	c := &socket{sim: s, local: l.local}
	if k.to.IP.IsValid() {
		k.local = s.ephemeral(k.to.IP.Addr())
	}
	k.remote, c.remote = c.local, k.local
	s.connect(k, c)
	l.backlog = append(l.backlog, c)
	l.pumpAccept()
	return 0
}

// connect sends a connection request.
func (o *op) connect() {
	k := o.sock
	s := k.sim
	k.to = o.to
	if k.kind == kindPacket {
		k.remote = o.to
		s.autobind(k, o.to)
		o.post(0, 0, false)
		return
	}
	if k.connecting || k.out != nil || k.kind != kindStream {
		o.fail(syscall.EISCONN)
		return
	}
	k.connecting = true
	d := s.latency()
	if s.hit(SlowConnect) {
		d += s.delay()
	}
	s.in(d, timer{duty: dutyReach, sock: k})
}

// reach is called when the request is at the listener.
func (k *socket) reach() {
	s := k.sim
	if k.closed {
		return
	}
	e := syscall.ECONNREFUSED
	if !s.hit(Refuse) {
		e = k.meet()
	}
	d := s.latency()
	if e == 0 {
		k.in.lastAt = s.now + d // no byte overtakes the answer
	}
	s.in(d, timer{duty: dutyConnect, sock: k, err: -int32(e)})
}

// answered is called when the listener's answer is back, whether or not the
// operation still waits for it.
func (k *socket) answered(res int32) {
	k.connecting = false
	o := k.running(backend.OpConnect)
	if o == nil {
		return
	}
	if e := k.failure(); e != 0 {
		res = -int32(e)
	}
	o.post(res, 0, false)
}

// pumpAccept hands connections to the Accept operation.
func (k *socket) pumpAccept() {
	o := k.running(backend.OpAccept)
	if o == nil {
		return
	}
	s := k.sim
	if k.kind != kindListener || k.rdShut {
		o.fail(syscall.EINVAL)
		return
	}
	for !o.done && len(k.backlog) > 0 {
		if s.hit(AcceptError) {
			o.post(-int32(syscall.EMFILE), 0, true)
			s.in(s.delay(), timer{duty: dutyAccept, op: o, id: o.id})
			return
		}
		c := k.backlog[0]
		k.backlog = k.backlog[:copy(k.backlog, k.backlog[1:])]
		o.post(int32(s.open(c)), 0, !s.hit(EndAccept))
	}
}

// autobind names a datagram socket that has no name yet, for a peer with an IP
// address.
func (s *Sim) autobind(k *socket, to backend.Addr) {
	if k.local == (backend.Addr{}) && to.IP.IsValid() {
		ip := loopback
		if to.IP.Addr().Is6() {
			ip = netip.IPv6Loopback()
		}
		k.local = s.ephemeral(ip)
		s.names[k.local] = k
	}
}
