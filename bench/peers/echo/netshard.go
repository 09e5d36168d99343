package echo

import (
	"net"
	"sync/atomic"
)

// listenNetShard is a queue for each worker: connection k belongs to worker k
// modulo their number, whatever the others are doing.
func listenNetShard(addr string, o Options) (Server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	j := new(jobs)
	queues := make([]chan *job, o.Workers)
	for i := range queues {
		queues[i] = make(chan *job, queueLen)
	}
	stop := startWorkers(j, queues, 1, o.Work)
	var accepted atomic.Uint32
	serve := func(c net.Conn) {
		queue := queues[(accepted.Add(1)-1)%uint32(len(queues))]
		j.read(c, func(b *job) { queue <- b })
	}
	return startNet(ln, serve, stop), nil
}
