package echo

import (
	"bufio"
	"io"
	"net"
	"runtime"
	"sync"
)

// job is one frame on its way to a worker, which writes it back and returns
// the buffer to the pool.
type job struct {
	to    *chanConn
	frame *[]byte
}

// chanConn is what workers see of a connection.
type chanConn struct {
	pending sync.WaitGroup // frames handed to workers and not yet written

	mu sync.Mutex // one reply at a time
	c  net.Conn
}

// listenNetChan is the shape most Go services have: readers parse, one channel
// carries every frame to a pool of workers, workers reply under the lock of
// the connection. Two frames of one connection may be answered out of order.
func listenNetChan(addr string) (Server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	workers := 2 * runtime.GOMAXPROCS(0)
	jobs := make(chan job, 64*workers)
	buffers := &sync.Pool{New: func() any { return new([]byte) }}
	var done sync.WaitGroup
	for range workers {
		done.Go(func() {
			for j := range jobs {
				j.to.mu.Lock()
				_, err := j.to.c.Write(*j.frame)
				j.to.mu.Unlock()
				if err != nil {
					j.to.c.Close() // ends the reader too
				}
				j.to.pending.Done()
				buffers.Put(j.frame)
			}
		})
	}
	serve := func(c net.Conn) { serveNetChan(c, jobs, buffers) }
	stop := func() { close(jobs); done.Wait() }
	return startNet(ln, serve, stop), nil
}

func serveNetChan(c net.Conn, jobs chan<- job, buffers *sync.Pool) {
	conn := &chanConn{c: c}
	defer conn.pending.Wait() // the caller closes c
	r := bufio.NewReaderSize(c, bufferSize)
	for {
		header, err := r.Peek(HeaderLen)
		if err != nil {
			return
		}
		n, err := frameLen(header)
		if err != nil {
			return
		}
		b := buffers.Get().(*[]byte)
		*b = grow((*b)[:0], n)[:n]
		if _, err := io.ReadFull(r, *b); err != nil {
			return
		}
		conn.pending.Add(1)
		jobs <- job{conn, b}
	}
}
