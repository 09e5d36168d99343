package cbpf_test

import (
	"fmt"

	"golang.org/x/net/bpf"

	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
	"github.com/kcm-go/kcm/strparser/cbpf"
)

// A program for messages with a type of 1 byte and a length of 2, assembled with
// golang.org/x/net/bpf. cbpf.NewRaw takes the list of raw instructions that tcpdump -dd
// prints and setsockopt takes.
func Example() {
	program, err := cbpf.New([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 1, Size: 2}, // the length of the payload
		bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 3},
		bpf.RetA{},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	arena := sgmsg.NewHeap(4096)
	noLock := func(*strparser.Parser) {}
	p, err := strparser.New(nil, strparser.Options{
		Format: program,
		Message: func(_ *strparser.Parser, m *sgmsg.Message) {
			fmt.Printf("%q\n", m.AppendTo(nil))
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
	for _, piece := range []string{"A\x00\x02hiB", "\x00\x00C\x00\x03y", "es"} {
		chunk, err := arena.Alloc(len(piece))
		if err != nil {
			fmt.Println(err)
			return
		}
		copy(chunk.Bytes(), piece)
		_, err = p.Process(chunk, 0, 0)
		chunk.Buf.Release()
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// "A\x00\x02hi"
	// "B\x00\x00"
	// "C\x00\x03yes"
}
