package echo

import (
	"net"
)

// listenNetPool is one queue for all: readers put frames into a channel, all
// workers take them from there.
func listenNetPool(addr string, o Options) (Server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	j := new(jobs)
	queue := make(chan *job, queueLen)
	stop := startWorkers(j, []chan *job{queue}, o.Workers, o.Work)
	serve := func(c net.Conn) { j.read(c, func(b *job) { queue <- b }) }
	return startNet(ln, serve, stop), nil
}
