package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/sgmsg"
)

// drainTime is how long the last calls and the reading of their replies may take.
const drainTime = 5 * time.Second

// serve answers calls on the connections of ln until ctx ends, and then those it has
// received. It returns how many each of n workers answered.
func serve(ctx context.Context, ln net.Listener, n int) ([]int, error) {
	format, err := frames()
	if err != nil {
		return nil, err
	}
	m, err := mux.New(mux.Options{Format: format, MaxMessage: headerBytes + maxFrame})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	answered := make([]int, n)
	var workers sync.WaitGroup
	for i := range answered {
		s, err := m.Socket()
		if err != nil {
			return nil, err
		}
		workers.Go(func() { answered[i] = worker(s) })
	}
	served := make(chan error, 1)
	go func() { served <- m.Serve(ln) }()
	select {
	case err := <-served: // the listener has failed
		return nil, err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	err = m.Shutdown(drain)
	workers.Wait()
	if e := <-served; !errors.Is(e, mux.ErrClosed) {
		return nil, e
	}
	return answered, err
}

// worker answers what s receives until that is closed, and returns how many.
func worker(s *mux.Socket) (answered int) {
	rd := s.Reader()
	defer rd.Close()
	for {
		r, err := rd.Next(context.Background())
		if err != nil {
			return answered
		}
		var out sgmsg.Message
		if err := answer(r, &out); err != nil {
			out.Reset()
			r.From.Drain() // no call: nothing on this connection can be trusted
			continue
		}
		r.Reply(&out)
		answered++
	}
}

// answer has the call in r processed, and makes out the reply.
func answer(r *mux.Received, out *sgmsg.Message) error {
	if r.Msg.Len() < headerBytes {
		return fmt.Errorf("a frame of %d bytes", r.Msg.Len())
	}
	r.Msg.TrimFront(headerBytes)
	in := thrift.NewStreamTransportR(sgmsg.NewReader(r.Msg))
	buf := thrift.NewTMemoryBuffer()
	framed := thrift.NewTFramedTransportConf(buf, conf)
	if err := process(context.Background(),
		thrift.NewTBinaryProtocolConf(in, conf), thrift.NewTBinaryProtocolConf(framed, conf)); err != nil {
		return err
	}
	return out.AppendCopy(r.From.Loop(), buf.Bytes(), 0)
}
