//go:build linux

package mux_test

import (
	"net"
	"testing"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// benchSend sends b.N messages of 64 bytes, in bursts of depth, and waits for each burst to
// arrive.
func benchSend(b *testing.B, conns, depth int, send func(m *mux.Mux, s *mux.Socket, p *mux.Psock, msgs []sgmsg.Message)) {
	m, err := mux.New(mux.Options{Format: strparser.Length32, Loops: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	s, err := m.Socket()
	if err != nil {
		b.Fatal(err)
	}
	got := make(chan int, 1024)
	var first *mux.Psock
	for range conns {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		c := dial(b, ln.Addr().String())
		defer c.Close()
		srv, err := ln.Accept()
		if err != nil {
			b.Fatal(err)
		}
		ln.Close()
		p, err := m.Attach(srv)
		if err != nil {
			b.Fatal(err)
		}
		if first == nil {
			first = p
		}
		go func() {
			buf := make([]byte, 64<<10)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				got <- n
			}
		}()
	}
	var one sgmsg.Message
	if err := one.AppendCopy(m.Loops()[0], frame(make([]byte, 60)), 0); err != nil {
		b.Fatal(err)
	}
	defer one.Release()
	msgs := make([]sgmsg.Message, depth)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += depth {
		for j := range msgs {
			msgs[j].Reset()
			if err := one.Clone(&msgs[j], 0, one.Len()); err != nil {
				b.Fatal(err)
			}
		}
		send(m, s, first, msgs)
		for n := 0; n < depth*64; {
			n += <-got
		}
	}
}

func BenchmarkSend(b *testing.B) {
	for _, c := range []struct {
		name         string
		conns, depth int
	}{{"1", 1, 1}, {"16", 1, 16}} {
		b.Run("psock/"+c.name, func(b *testing.B) {
			benchSend(b, c.conns, c.depth, func(_ *mux.Mux, _ *mux.Socket, p *mux.Psock, msgs []sgmsg.Message) {
				for i := range msgs {
					p.Send(&msgs[i])
				}
			})
		})
		b.Run("socket/"+c.name, func(b *testing.B) {
			benchSend(b, c.conns, c.depth, func(_ *mux.Mux, s *mux.Socket, _ *mux.Psock, msgs []sgmsg.Message) {
				for i := range msgs {
					if err := s.TrySend(&msgs[i]); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
		b.Run("batch/"+c.name, func(b *testing.B) {
			benchSend(b, c.conns, c.depth, func(_ *mux.Mux, s *mux.Socket, _ *mux.Psock, msgs []sgmsg.Message) {
				for i := range msgs {
					f := mux.Batch
					if i == len(msgs)-1 {
						f = 0
					}
					if err := s.SendFlags(b.Context(), &msgs[i], f); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
