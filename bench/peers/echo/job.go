package echo

import (
	"bufio"
	"io"
	"net"
	"sync"
)

// job is a frame on its way from a reader to whoever handles it.
type job struct {
	conn  *jobConn
	frame []byte
	run   func() // handles this job; made once, for netgo
}

// jobs are pooled with their buffers, so that a message allocates nothing.
type jobs struct{ pool sync.Pool }

func (j *jobs) get(conn *jobConn, n int) *job {
	b, _ := j.pool.Get().(*job)
	if b == nil {
		b = new(job)
	}
	b.conn = conn
	b.frame = grow(b.frame[:0], n)[:n]
	return b
}

func (j *jobs) put(b *job) {
	b.conn = nil
	j.pool.Put(b)
}

// read turns what a connection sends into jobs and hands each to dispatch, until
// the connection ends and the last of them is answered.
func (j *jobs) read(c net.Conn, dispatch func(*job)) {
	conn := &jobConn{c: c}
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
		b := j.get(conn, n)
		if _, err := io.ReadFull(r, b.frame); err != nil {
			j.put(b)
			return
		}
		conn.pending.Add(1)
		dispatch(b)
	}
}
