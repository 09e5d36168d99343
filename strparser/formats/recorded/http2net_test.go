package recorded

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "HTTP2-net", f: formats.HTTP2,
		encoders:  []string{"net/http"},
		reference: "RFC 9113, sections 3.4, 4.1",
		messages:  http2Talk,
	})
}

// http2Talk is what a client and a server of net/http say to each other, without TLS:
// requests with bodies, which the server sends back with a trailer. When a window grows or
// settings are acknowledged is up to their goroutines, and they write several frames at a
// time: where one ends is where the other package's Framer ends it.
func http2Talk(t *testing.T) (messages [][]byte) {
	near, far := pair(t)
	sent, answered := new(writes), new(writes)
	var unencrypted http.Protocols
	unencrypted.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: &unencrypted, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Result")
		_, err := io.Copy(w, r.Body)
		w.Header().Set("Result", fmt.Sprint(err))
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(only(tapped{far, answered})) }()
	transport := &http.Transport{
		Protocols:   &unencrypted,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return tapped{near, sent}, nil },
	}
	client := &http.Client{Transport: transport, Timeout: patience}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{0, 1, 255, 256, 1 << 14, 1<<14 + 1, 1 << 16, 1 << 20} {
		body := payload(rng, n)
		resp, err := client.Post("http://example.com/", "text/plain", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(got, body) || resp.ProtoMajor != 2 || resp.Trailer.Get("Result") != "<nil>" {
			t.Fatalf("%d bytes in HTTP/%d, %v, trailer %v; sent %d", len(got), resp.ProtoMajor, err, resp.Trailer, n)
		}
	}
	transport.CloseIdleConnections()
	server.Close()
	if err := <-served; err != http.ErrServerClosed {
		t.Fatal(err)
	}
	all := slices.Concat(sent.take()...)
	preface, frames := all[:len(http2.ClientPreface)], all[len(http2.ClientPreface):]
	if string(preface) != http2.ClientPreface {
		t.Fatalf("a preface of %q", preface)
	}
	messages = append(messages, preface)
	for _, b := range [][]byte{frames, slices.Concat(answered.take()...)} {
		var f *http2.Framer // knows what came before
		messages = append(messages, cut(t, b, func(r io.Reader) error {
			if f == nil {
				f = http2.NewFramer(io.Discard, r)
			}
			_, err := f.ReadFrame()
			return err
		})...)
	}
	return messages
}

// one is a listener with one connection to accept.
type one struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func only(c net.Conn) one {
	l := one{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	l.conns <- c
	return l
}

func (l one) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l one) Close() error {
	l.close()
	return nil
}

func (l one) Addr() net.Addr { return &net.TCPAddr{} }
