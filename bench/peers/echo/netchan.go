package echo

import (
	"bufio"
	"io"
	"net"
	"sync"
)

// chanConn is what workers see of a connection. The channel carries the
// connection once for each frame; whoever gets it writes the oldest frame, so
// replies come in order whichever worker is faster.
type chanConn struct {
	pending sync.WaitGroup // frames handed to workers and not yet written

	mu sync.Mutex // one reply at a time
	c  net.Conn

	queueMu sync.Mutex
	queue   []*[]byte
}

func (c *chanConn) push(frame *[]byte) {
	c.queueMu.Lock()
	c.queue = append(c.queue, frame)
	c.queueMu.Unlock()
}

func (c *chanConn) pop() *[]byte {
	c.queueMu.Lock()
	defer c.queueMu.Unlock()
	frame := c.queue[0]
	c.queue = c.queue[:copy(c.queue, c.queue[1:])]
	return frame
}

// answer writes the oldest frame back.
func (c *chanConn) answer() (frame *[]byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	frame = c.pop()
	_, err = c.c.Write(*frame)
	return frame, err
}

// listenNetChan is the shape most Go services have: readers parse, one channel
// carries every frame to a pool of workers, workers reply under the lock of
// the connection.
func listenNetChan(addr string, o Options) (Server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	jobs := make(chan *chanConn, queueLen)
	buffers := &sync.Pool{New: func() any { return new([]byte) }}
	var done sync.WaitGroup
	for range o.Workers {
		done.Go(func() {
			for conn := range jobs {
				frame, err := conn.answer()
				if err != nil {
					conn.c.Close() // ends the reader too
				}
				conn.pending.Done()
				buffers.Put(frame)
			}
		})
	}
	serve := func(c net.Conn) { serveNetChan(c, jobs, buffers) }
	stop := func() { close(jobs); done.Wait() }
	return startNet(ln, serve, stop), nil
}

func serveNetChan(c net.Conn, jobs chan<- *chanConn, buffers *sync.Pool) {
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
		conn.push(b)
		jobs <- conn
	}
}
