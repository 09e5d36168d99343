package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/strparser"
)

const (
	headerBytes = 4 // of strparser.Length32
	aroundBytes = headerBytes + sha256.Size
)

// send sends one message with the first size bytes of content. It holds no more of them than
// buf. On error a part of the message may be open.
func send(w *messageWriter, content io.Reader, size int, buf []byte) error {
	var head [headerBytes]byte
	binary.BigEndian.PutUint32(head[:], uint32(size+sha256.Size))
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(w, h), onlyReader{io.LimitReader(content, int64(size))}, buf)
	if err == nil && n < int64(size) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if _, err := w.Write(h.Sum(nil)); err != nil {
		return err
	}
	return w.Close()
}

// receive receives one message and returns the size and the hash of its content, which it
// compares with the one that was sent (EBADMSG). It holds no more of the content than buf.
func receive(r *messageReader, buf []byte) (size int, sum []byte, err error) {
	var head [headerBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	size = int(binary.BigEndian.Uint32(head[:])) - sha256.Size
	if size < 0 {
		return 0, nil, fmt.Errorf("a message without a hash: %w", syscall.EBADMSG)
	}
	h := sha256.New()
	if _, err := io.CopyBuffer(h, io.LimitReader(r, int64(size)), buf); err != nil {
		return 0, nil, err
	}
	rest, err := io.ReadAll(r)
	if err != nil {
		return 0, nil, err
	}
	if sum = h.Sum(nil); !bytes.Equal(rest, sum) {
		return 0, nil, fmt.Errorf("a message of %d bytes came with the hash %x, and has %x: %w", size, rest, sum, syscall.EBADMSG)
	}
	return size, sum, nil
}

// onlyReader hides the other methods of a reader, for io.CopyBuffer to use its buffer.
type onlyReader struct{ io.Reader }

// message is what became of one.
type message struct {
	size int
	sum  []byte
	sent int // parts
	got  int // parts
}

// figures are what the two sides held at most, in bytes.
type figures struct{ sender, receiver int }

// transfer sends messages from one Mux to another, over loopback, and calls each with what
// arrived. content returns what the next one has.
func transfer(ctx context.Context, c config, content func(i int) io.Reader, each func(message)) (f figures, err error) {
	to, err := newMux(c)
	if err != nil {
		return f, err
	}
	defer to.Close()
	in, err := to.OpenSocket(mux.SocketOptions{Type: mux.Seqpacket, RecvBytes: c.limit})
	if err != nil {
		return f, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return f, err
	}
	defer ln.Close()
	go to.Serve(ln) // ends with the Mux

	from, err := newMux(c)
	if err != nil {
		return f, err
	}
	defer from.Close()
	out, err := from.OpenSocket(mux.SocketOptions{Type: mux.Seqpacket, SendBytes: c.limit})
	if err != nil {
		return f, err
	}
	if _, err := from.Dial(ctx, "tcp", ln.Addr().String()); err != nil {
		return f, err
	}

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	sent := make(chan int, c.messages)
	var sender sync.WaitGroup
	sender.Go(func() {
		w := &messageWriter{ctx: ctx, s: out}
		w.after = func() { f.sender = max(f.sender, from.Loops()[0].Stats().SpillUsed) }
		buf := make([]byte, c.part)
		for i := range c.messages {
			w.parts = 0
			if err := send(w, content(i), c.size, buf); err != nil {
				stop(fmt.Errorf("send message %d: %w", i, err))
				return
			}
			sent <- w.parts
		}
	})
	buf := make([]byte, c.buffer)
	for i := range c.messages {
		r := &messageReader{ctx: ctx, s: in}
		r.after = func() { f.receiver = max(f.receiver, to.Loops()[0].Stats().RegionUsed) }
		m := message{}
		if m.size, m.sum, err = receive(r, buf); err != nil {
			stop(fmt.Errorf("receive message %d: %w", i, err)) // unless the sender has said what is wrong
			break
		}
		m.sent, m.got = <-sent, r.parts
		each(m)
	}
	sender.Wait()
	return f, context.Cause(ctx)
}

// newMux makes one side. Either has to be told how long a message may be.
func newMux(c config) (*mux.Mux, error) {
	return mux.New(mux.Options{
		Format:     strparser.Length32,
		MaxMessage: c.size + aroundBytes,
		Policy:     mux.FIFO, // a queue, and a limit, for each socket
		Loops:      1,
	})
}
