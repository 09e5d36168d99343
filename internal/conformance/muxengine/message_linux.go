package muxengine

import (
	"context"
	"fmt"
	"time"

	"github.com/kcm-go/kcm/internal/conformance"
	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/sgmsg"
)

// within makes a call that waits, for as long as the socket's time-out says.
func (e *Engine) within(timeout time.Duration, f func(ctx context.Context) string) string {
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	if timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, timeout)
	}
	return e.call(func() string {
		defer cancel()
		return f(ctx)
	})
}

// recv receives a message, or a part of it.
func (e *Engine) recv(s *socket, a *conformance.Action) string {
	if a.Has("waitall") || a.Has("fault") {
		return unsupported
	}
	var flags mux.Flags
	if a.Has("peek") {
		flags |= mux.Peek
	}
	if a.Has("trunc") {
		flags |= mux.Trunc
	}
	recv := func(ctx context.Context, flags mux.Flags) string {
		b := make([]byte, a.Numbers[0])
		n, got, err := s.socket.RecvMsg(ctx, b, flags)
		if err != nil {
			return name(err)
		}
		out := fmt.Sprint(n)
		if got&mux.EOR != 0 {
			out += " eor"
		}
		if got&mux.Trunc != 0 {
			out += " trunc"
		}
		return conformance.Join(out, conformance.Describe(b[:n]))
	}
	if a.Has("wait") {
		return e.within(s.recvTimeout, func(ctx context.Context) string { return recv(ctx, flags) })
	}
	defer e.settle()
	return recv(context.Background(), flags|mux.DontWait)
}

// send sends a message, or a part of one.
func (e *Engine) send(s *socket, a *conformance.Action) string {
	if a.Has("oob") || a.Has("fault") {
		return unsupported
	}
	var flags mux.Flags
	if a.Has("more") {
		flags |= mux.More
	}
	if a.Has("eor") {
		flags |= mux.EOR
	}
	if a.Has("batch") {
		flags |= mux.Batch
	}
	send := func(ctx context.Context, flags mux.Flags) string {
		n, err := s.socket.SendMsg(ctx, a.Data.Bytes(), flags)
		if err != nil {
			return name(err)
		}
		return fmt.Sprint(n)
	}
	if a.Has("wait") {
		return e.within(s.sendTimeout, func(ctx context.Context) string { return send(ctx, flags) })
	}
	defer e.settle()
	out := send(context.Background(), flags|mux.DontWait)
	if out == "EAGAIN" {
		s.out = false
	}
	return out
}

// sendEach sends several messages with one call if it can.
func (e *Engine) sendEach(s *socket, a *conformance.Action) string {
	// Who would wait is told so: its time is over.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var msgs []*sgmsg.Message
	for _, p := range a.Data {
		m := new(sgmsg.Message)
		defer m.Reset()
		if err := m.AppendCopy(e.loop, p.Bytes(), 0); err != nil {
			return name(err)
		}
		msgs = append(msgs, m)
	}
	n := 0
	var err error
	if a.Has("batch") {
		for n < len(msgs) && err == nil {
			if err = s.socket.SendFlags(ctx, msgs[n], mux.Batch); err == nil {
				n++
			}
		}
	} else {
		n, err = s.socket.SendAll(ctx, msgs...)
	}
	if n == 0 && err != nil {
		return name(err)
	}
	return fmt.Sprintf("%d messages", n)
}
