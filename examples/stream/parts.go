package main

import (
	"context"
	"io"

	"github.com/kcm-go/kcm/mux"
)

// messageWriter writes a message of a Seqpacket socket part by part. Close ends it.
type messageWriter struct {
	ctx   context.Context
	s     *mux.Socket
	parts int
	after func() // each part
}

func (w *messageWriter) Write(p []byte) (int, error) { return w.send(p, 0) }

// Close ends the message, with a part of no bytes.
func (w *messageWriter) Close() error {
	_, err := w.send(nil, mux.EOR)
	return err
}

func (w *messageWriter) send(p []byte, f mux.Flags) (done int, err error) {
	for {
		n, err := w.s.SendMsg(w.ctx, p[done:], f)
		if done += n; err != nil {
			return done, err
		}
		w.parts++
		w.after()
		if done == len(p) { // else memory is short: it has taken a part and not ended
			return done, nil
		}
	}
}

// messageReader reads one message of a Seqpacket socket part by part, and then io.EOF.
type messageReader struct {
	ctx   context.Context
	s     *mux.Socket
	parts int
	ended bool
	after func() // each part
}

func (r *messageReader) Read(p []byte) (int, error) {
	if r.ended {
		return 0, io.EOF
	}
	n, got, err := r.s.RecvMsg(r.ctx, p, 0)
	if err != nil {
		return n, err
	}
	r.ended = got&mux.EOR != 0
	r.parts++
	r.after()
	return n, nil
}
