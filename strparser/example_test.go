package strparser_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing/iotest"

	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// noLock is right where one goroutine calls Process and there is no timer.
func noLock(*strparser.Parser) {}

// push is what a caller of general mode does with bytes it has read.
func push(arena *sgmsg.Arena, p *strparser.Parser, data string) error {
	chunk, err := arena.Alloc(len(data))
	if err != nil {
		return err
	}
	defer chunk.Buf.Release()
	copy(chunk.Bytes(), data)
	_, err = p.Process(chunk, 0, 0)
	return err
}

// Length-prefixed messages, pushed in two pieces that are cut anywhere.
func Example() {
	arena := sgmsg.NewHeap(64 << 10)
	p, err := strparser.New(nil, strparser.Options{
		Format: strparser.Length16,
		Message: func(_ *strparser.Parser, m *sgmsg.Message) {
			m.TrimFront(2) // the prefix
			fmt.Printf("%d bytes: %s\n", m.Len(), m.AppendTo(nil))
		},
		Lock: noLock, Unlock: noLock,
		Alloc: arena,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, piece := range []string{"\x00\x05hello\x00", "\x05world"} {
		if err := push(arena, p, piece); err != nil {
			fmt.Println(err)
			return
		}
	}
	p.EOF()
	fmt.Println("finished:", p.Finished())
	p.Done()
	// Output:
	// 5 bytes: hello
	// 5 bytes: world
	// finished: true
}

// Lines, by a parse function of one's own. The cookie remembers how far there is
// no end of line, so that a long line is not searched again from its start.
func ExampleParseFunc() {
	lines := strparser.ParseFunc(func(v *strparser.View) (int, error) {
		if head := v.Head(); len(head) == v.Len() { // the common case: in one piece
			return bytes.IndexByte(head, '\n') + 1, nil
		}
		var piece [64]byte
		for v.Off < v.Len() {
			n := v.CopyTo(piece[:], v.Off)
			if i := bytes.IndexByte(piece[:n], '\n'); i >= 0 {
				return v.Off + i + 1, nil
			}
			v.Off += n
		}
		return 0, nil
	})
	arena := sgmsg.NewHeap(64 << 10)
	p, err := strparser.New(nil, strparser.Options{
		Format: lines,
		Message: func(_ *strparser.Parser, m *sgmsg.Message) {
			fmt.Printf("%q\n", m.AppendTo(nil))
		},
		MaxMessage: 80,
		Lock:       noLock, Unlock: noLock,
		Alloc: arena,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, piece := range []string{"one\ntwo\nthe third l", "ine, in th", "ree pieces\nand"} {
		if err := push(arena, p, piece); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(push(arena, p, string(bytes.Repeat([]byte("x"), 100))))
	p.Done()
	// Output:
	// "one\n"
	// "two\n"
	// "the third line, in three pieces\n"
	// strparser: message of unknown length exceeds the maximum of 80 with 103 bytes
}

// General mode over any io.Reader: a file, a pipe, a TLS connection. The parser frames
// what is pushed; where it comes from is the caller's affair.
func ExampleParser_Process() {
	var r io.Reader = iotest.OneByteReader(strings.NewReader("\x00\x05hello\x00\x00\x00\x07goodbye"))

	arena := sgmsg.NewHeap(64 << 10)
	p, err := strparser.New(nil, strparser.Options{
		Format: strparser.Length16,
		Message: func(_ *strparser.Parser, m *sgmsg.Message) {
			fmt.Printf("%q\n", m.AppendTo(nil)[2:])
		},
		Lock: noLock, Unlock: noLock,
		Alloc: arena,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() {
		p.Stop()
		p.Done()
	}()
	for {
		chunk, err := arena.Alloc(4096)
		if err != nil {
			fmt.Println(err)
			return
		}
		n, err := r.Read(chunk.Bytes())
		if chunk.Len = uint32(n); n > 0 {
			if _, err := p.Process(chunk, 0, 0); err != nil { // a message keeps what it needs
				fmt.Println(err)
				chunk.Buf.Release()
				return
			}
		}
		chunk.Buf.Release()
		if err == io.EOF {
			p.EOF() // an error is posted if a message is cut short
			fmt.Println("finished:", p.Finished())
			return
		}
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// "hello"
	// ""
	// "goodbye"
	// finished: true
}

// Messages that cost next to nothing are handled in batches.
func ExampleBatch() {
	arena := sgmsg.NewHeap(64 << 10)
	sum, batched, alone := 0, 0, 0
	p, err := strparser.New(nil, strparser.Options{
		Format: strparser.Length{Width: 1},
		Batch: func(_ *strparser.Parser, b *strparser.Batch) {
			batched += b.Len()
			for i := range b.Len() {
				sum += int(b.Bytes(i)[1])
			}
		},
		Message: func(_ *strparser.Parser, m *sgmsg.Message) { // cut, or in the last bytes of a chunk
			alone++
			sum += int(m.AppendTo(nil)[1])
		},
		Lock: noLock, Unlock: noLock,
		Alloc: arena,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, piece := range []string{strings.Repeat("\x01\x02", 50) + "\x01", "\x03"} {
		if err := push(arena, p, piece); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(sum, "in", batched, "and", alone, "messages")
	p.EOF()
	p.Done()
	// Output: 103 in 47 and 4 messages
}
