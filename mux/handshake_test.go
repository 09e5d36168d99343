//go:build linux

package mux_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// A login that is looked up elsewhere: Establish from another goroutine, over real
// sockets, on connections of Serve and of Dial.
func TestEstablishFromAnotherGoroutine(t *testing.T) {
	server, err := mux.New(mux.Options{
		Format: strparser.Length32,
		Handshake: func(p *mux.Psock, msg *sgmsg.Message) mux.Verdict {
			login := msg.Take()
			go func() {
				p.Establish()
				p.Send(login) // now requests may come
			}()
			return mux.Done
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	server.Handle(func(p *mux.Psock, msg *sgmsg.Message) mux.Verdict {
		if err := p.SendPayload([]byte("done")); err != nil {
			t.Error(err)
		}
		return mux.Done
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(ln)
	done := make(chan struct{})
	client, err := mux.New(mux.Options{
		Format: strparser.Length32,
		OnOpen: func(p *mux.Psock) {
			if err := p.SendPayload([]byte("login")); err != nil {
				t.Error(err)
			}
		},
		Handshake: func(p *mux.Psock, msg *sgmsg.Message) mux.Verdict {
			p.Establish()
			p.Send(msg)
			return mux.Done
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.Handle(func(p *mux.Psock, msg *sgmsg.Message) mux.Verdict {
		if got := string(msg.AppendTo(nil)); got != "\x00\x00\x00\x04done" {
			t.Errorf("got %q", got)
		}
		close(done)
		return mux.End
	})
	if _, err := client.Dial(t.Context(), "tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("no reply behind the handshake")
	}
}

// STARTTLS and the like: the handshake ends with the connection given back.
func TestDetachInTheHandshake(t *testing.T) {
	got := make(chan net.Conn, 1)
	m, err := mux.New(mux.Options{
		Format: strparser.Length32,
		Handshake: func(p *mux.Psock, msg *sgmsg.Message) mux.Verdict {
			p.DetachTo(func(c net.Conn, err error) {
				if err != nil {
					t.Error(err)
				}
				got <- c
			})
			return mux.Done
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go m.Serve(ln)
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if _, err := far.Write([]byte("\x00\x00\x00\x03TLSrest")); err != nil {
		t.Fatal(err)
	}
	c := <-got
	if c == nil {
		return
	}
	defer c.Close()
	b := make([]byte, 4)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "rest" {
		t.Errorf("the connection replays %q, %v", b, err)
	}
}
