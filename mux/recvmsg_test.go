//go:build linux

package mux_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/mux"
)

func openSeqpacket(t *testing.T, m *mux.Mux) *mux.Socket {
	t.Helper()
	s, err := m.OpenSocket(mux.SocketOptions{Type: mux.Seqpacket})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Several goroutines read from one Seqpacket socket, in pieces of any size, and take turns:
// put together by when each was read, the pieces are the messages.
func TestManyReadPartsOfOneSocket(t *testing.T) {
	for _, policy := range []mux.Policy{mux.Idle, mux.FIFO} {
		m := newMux(t, mux.Options{Policy: policy}, nil)
		s := openSeqpacket(t, m)
		_, c := attach(t, m)
		const n = 500
		var sent []byte
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range n {
			sent = append(sent, frame(bytes.Repeat([]byte{byte(i)}, 1+rng.IntN(300)))...)
		}
		go func() {
			if _, err := c.Write(sent); err != nil {
				t.Error(err)
			}
		}()
		var mu sync.Mutex // so that who reads is who writes down
		var got []byte
		ends := 0
		ctx, done := context.WithCancel(t.Context())
		defer done()
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(i), 3))
				p := make([]byte, 100)
				for {
					// The first waits like the others, the rest looks only.
					mu.Lock()
					k, flags, err := s.RecvMsg(ctx, p[:rng.IntN(len(p))], mux.DontWait)
					if err == nil {
						got = append(got, p[:k]...)
						if flags&mux.EOR != 0 {
							ends++
						}
						if ends == n {
							done()
						}
					}
					mu.Unlock()
					switch {
					case ctx.Err() != nil:
						return
					case err == nil:
						continue
					case err != syscall.EAGAIN:
						t.Error(err)
						return
					}
					if _, _, err := s.RecvMsg(ctx, nil, mux.Peek); err != nil && !errors.Is(err, context.Canceled) {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		if !bytes.Equal(got, sent) || ends != n {
			t.Errorf("%v: %d bytes of %d, %d ends of %d", policy, len(got), len(sent), ends, n)
		}
	}
}

// Who waits in RecvMsg, for a message or for its turn, stops when its context ends or the
// socket is closed.
func TestRecvMsgWaits(t *testing.T) {
	for _, policy := range []mux.Policy{mux.Idle, mux.FIFO} {
		m := newMux(t, mux.Options{Policy: policy}, nil)
		s := openSeqpacket(t, m)
		ctx, cancel := context.WithCancel(t.Context())
		ends := make(chan error)
		for range 3 { // one for a message, the others behind it
			go func() {
				_, _, err := s.RecvMsg(ctx, nil, 0)
				ends <- err
			}()
		}
		// None of them has one; nor do those that come now.
		if _, _, err := s.RecvMsg(ctx, nil, mux.DontWait); err != syscall.EAGAIN {
			t.Errorf("RecvMsg: %v, want EAGAIN", err)
		}
		m.Loops()[0].Do(func() {
			if _, _, err := s.RecvMsg(ctx, nil, 0); !errors.Is(err, mux.ErrDeadlock) {
				t.Errorf("RecvMsg on a loop's thread: %v, want EDEADLK", err)
			}
		})
		cancel()
		for range 3 {
			if err := within(t, "RecvMsg of a context that ended", ends); !errors.Is(err, context.Canceled) {
				t.Errorf("RecvMsg: %v, want Canceled", err)
			}
		}
		for range 3 {
			go func() {
				_, _, err := s.RecvMsg(context.Background(), nil, 0)
				ends <- err
			}()
		}
		m.Stats()
		s.Close()
		for range 3 {
			if err := within(t, "RecvMsg of a closed socket", ends); !errors.Is(err, mux.ErrClosed) {
				t.Errorf("RecvMsg: %v, want ErrClosed", err)
			}
		}
	}
}

// A socket is closed again and again while its reader is in the middle of messages: each
// message ends once, read, cut off or given to another socket.
func TestSocketsAreClosedWhileTheyAreReadInParts(t *testing.T) {
	for _, policy := range []mux.Policy{mux.Idle, mux.FIFO} {
		m := newMux(t, mux.Options{Policy: policy, FlowCap: -1}, nil)
		const n = 2000
		_, c := attach(t, m)
		go func() {
			for i := range uint32(n) {
				if _, err := c.Write(numbered(i)); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		seen := map[uint32]bool{}
		whole, cut := 0, 0
		p := make([]byte, 8)
		for round := 0; whole+cut < n; round++ {
			s := openSeqpacket(t, m)
			closed := make(chan struct{})
			go func() {
				s.RecvMsg(t.Context(), nil, mux.Peek)
				s.Close()
				close(closed)
			}()
			for size := 0; ; {
				k, flags, err := s.RecvMsg(t.Context(), p[size:min(size+1+round%8, 8)], 0)
				if err != nil {
					if size > 0 {
						cut++
					}
					break
				}
				if size += k; flags&mux.EOR == 0 {
					continue
				}
				size = 0
				i := uint32(p[4])<<24 | uint32(p[5])<<16 | uint32(p[6])<<8 | uint32(p[7])
				if seen[i] {
					t.Fatalf("message %d comes twice", i)
				}
				seen[i] = true
				if whole++; whole+cut == n {
					break
				}
			}
			s.Close()
			<-closed
		}
		if st := m.Stats(); st.Received != n || st.Queued != 0 {
			t.Errorf("%v: %d read, %d cut off, of %d; %d received, %d queued", policy, whole, cut, n, st.Received, st.Queued)
		}
	}
}

func TestRecvMsgAllocatesNothing(t *testing.T) {
	skipIfChecksAllocate(t)
	for _, policy := range []mux.Policy{mux.Idle, mux.FIFO} {
		for _, kind := range []mux.SocketType{mux.Dgram, mux.Seqpacket} {
			t.Run(policy.String()+"/"+kind.String(), func(t *testing.T) {
				m := newMux(t, mux.Options{Policy: policy}, nil)
				s, err := m.OpenSocket(mux.SocketOptions{Type: kind})
				if err != nil {
					t.Fatal(err)
				}
				_, in := attach(t, m)
				out, back := loopback(t)
				defer back.Close()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					p := make([]byte, 100)
					if kind == mux.Seqpacket {
						p = p[:50] // in two parts
					}
					for {
						n, _, err := s.RecvMsg(context.Background(), p, 0)
						if err != nil {
							return
						}
						if _, err := back.Write(p[:n]); err != nil {
							return
						}
					}
				}()
				allocatesNothing(t, in, out)
				s.Close()
				<-ended
			})
		}
	}
}
