package mux_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// A server that echoes every message, and a client on an ordinary connection. A
// message is a 4-byte big-endian length and so many bytes.
func Example() {
	m, err := mux.New(mux.Options{Format: strparser.Length32})
	if err != nil {
		log.Fatal(err)
	}
	m.Handle(func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
		from.Send(msg) // moves: no byte is copied
		return mux.Done
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- m.Serve(ln) }()

	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintf(c, "\x00\x00\x00\x05hello\x00\x00\x00\x05world")
	reply := make([]byte, 2*9)
	if _, err := io.ReadFull(c, reply); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", reply)
	c.Close()

	if err := m.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-served == mux.ErrClosed)

	// Output:
	// "\x00\x00\x00\x05hello\x00\x00\x00\x05world"
	// true
}

// The same Mux may dial too. Here one end answers a question and the other prints
// the answer; the handler tells them apart by the connection's value.
func ExampleMux_Dial() {
	answers := make(chan string)
	m, err := mux.New(mux.Options{Format: strparser.Length32, Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	m.Handle(func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
		msg.TrimFront(strparser.Length32.HeaderLen())
		text := string(msg.AppendTo(nil)) // a copy: msg is lent
		if c, ok := from.Value().(chan string); ok {
			go func() { c <- text }() // a handler must not block
			return mux.Done
		}
		if err := from.SendPayload([]byte(text + " to you too")); err != nil {
			log.Print(err)
		}
		return mux.Done
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go m.Serve(ln)

	p, err := m.Dial(context.Background(), "tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	p.SetValue(answers)
	if err := p.SendPayload([]byte("good morning")); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-answers)
	if err := m.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: good morning to you too
}

// Calls over a connection that is kept up: the number, the four bytes behind the length, is
// the client's business.
func ExampleClient() {
	m, err := mux.New(mux.Options{Format: strparser.Length32, Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	number := strparser.IDField{Offset: 4, Width: 4}
	client, err := m.Client(mux.ClientOptions{IDs: strparser.IDs{Request: number, Reply: number}})
	if err != nil {
		log.Fatal(err)
	}
	server, addr := echoServer()
	if _, err := m.Pool(mux.PoolOptions{Addresses: []string{addr}}); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var c mux.Call
	if err := c.Request.AppendCopy(m.Loops()[0], []byte("\x00\x00\x00\x09....hello"), 0); err != nil {
		log.Fatal(err)
	}
	if err := client.Do(ctx, &c); err != nil {
		log.Fatal(err)
	}
	c.Reply.TrimFront(8)
	fmt.Printf("%s\n", c.Reply.AppendTo(nil))
	c.Reply.Release()
	for _, m := range []*mux.Mux{m, server} {
		if err := m.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output: hello
}

// echoServer is a server that sends every message back.
func echoServer() (m *mux.Mux, addr string) {
	m, err := mux.New(mux.Options{Format: strparser.Length32, Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	m.Handle(func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
		from.Send(msg)
		return mux.Done
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go m.Serve(ln)
	return m, ln.Addr().String()
}
