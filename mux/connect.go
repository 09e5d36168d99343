package mux

import (
	"fmt"
	"net"
)

// Connect begins a connection to a *net.TCPAddr or *net.UnixAddr and does not wait for
// it: on the caller's loop if it is on one, else on the one with the fewest connections.
// What is sent to it meanwhile waits, sockets do not send on it before it stands, and
// OnOpen is called then; if it never does, OnClose without OnOpen, with what connect
// failed with (ECONNREFUSED ...). Errors: EAFNOSUPPORT for another address, EMFILE
// and the like for want of a descriptor, ErrClosed.
func (m *Mux) Connect(to net.Addr) (*Psock, error) {
	p, err := m.place(func(sh *shard) (*Psock, error) {
		return m.enter(sh, func(p *Psock) (err error) {
			p.shared = true
			p.stream, err = sh.loop.Dial(to, (*upper)(p))
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("mux: %w", err)
	}
	return p, nil
}
