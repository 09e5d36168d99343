package echo

import (
	"net"
)

// goServer handles every message in a goroutine of its own.
type goServer struct {
	jobs  jobs
	slots chan struct{} // one token for each message being handled
	work  bool
}

// listenNetGo is a goroutine for each message, of which a limited number is
// handled at a time; the rest waits, in the order of arrival, for its turn.
// Nothing limits how many wait. Replies are written after the turn, so a client
// that does not read delays nobody else.
func listenNetGo(addr string, o Options) (Server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &goServer{slots: make(chan struct{}, o.Workers), work: o.Work}
	serve := func(c net.Conn) { s.jobs.read(c, s.dispatch) }
	return startNet(ln, serve, nil), nil
}

func (s *goServer) dispatch(b *job) {
	if b.run == nil {
		b.run = func() { s.handle(b) }
	}
	go b.run() // no arguments, so the statement allocates nothing
}

func (s *goServer) handle(b *job) {
	s.slots <- struct{}{}
	if s.work {
		workOf(b.frame).do()
	}
	<-s.slots
	b.conn.write(b.frame)
	b.conn.pending.Done()
	s.jobs.put(b)
}
