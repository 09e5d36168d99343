package sgmsg_test

import (
	"encoding/json"
	"fmt"

	"github.com/kcm-go/kcm/sgmsg"
)

// A reply is built with room in front and gets its header when its length is
// known; a slice of it is sent elsewhere without copying.
func Example() {
	arena := sgmsg.NewHeap(64 << 10)

	var reply sgmsg.Message
	body, err := reply.Reserve(arena, 4, 12)
	if err != nil {
		fmt.Println(err)
		return
	}
	copy(body, "hello, world")
	if err := reply.Prepend(arena, []byte{0, 0, 0, 12}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(reply.Len(), "bytes in", reply.Used(), "element")

	var part sgmsg.Message
	if err := reply.Clone(&part, 4, 5); err != nil {
		fmt.Println(err)
		return
	}
	reply.Release()
	for b := range part.Segments() {
		fmt.Printf("%s\n", b)
	}
	part.Release()
	fmt.Println(arena.Held(), "buffers held")
	arena.Close(nil)
	// Output:
	// 16 bytes in 1 element
	// hello
	// 0 buffers held
}

// A handler that keeps a message moves it; one that does not, does nothing.
func ExampleMessage_MoveTo() {
	arena := sgmsg.NewHeap(4096)
	chunk, err := arena.Alloc(10)
	if err != nil {
		fmt.Println(err)
		return
	}
	copy(chunk.Bytes(), "firstother")

	var queue, m sgmsg.Message
	for off := uint32(0); off < 10; off += 5 {
		m.Lend(sgmsg.Element{Buf: chunk.Buf, Off: off, Len: 5})
		m.MoveTo(&queue) // the handler
		m.Reclaim()
	}
	chunk.Buf.Release()
	fmt.Printf("%s in %d element\n", queue.AppendTo(nil), queue.Used())
	queue.Release()
	// Output: firstother in 1 element
}

// A message is built from what is somewhere in memory, looked at, and changed, as a
// program of the kernel's sk_msg does it.
func ExampleMessage_Push() {
	arena := sgmsg.NewHeap(64 << 10)
	acct := &sgmsg.Account{Memory: arena}
	var m sgmsg.Message
	m.Bind(acct)

	it := sgmsg.NewIter([]byte("GET /index.html"), []byte(" secret=1234"), []byte(" HTTP/1.1"))
	if err := m.Alloc(it.Len(), 0); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := m.MemCopyFrom(it, it.Len()); err != nil {
		fmt.Println(err)
		return
	}

	method, err := m.Pull(0, 3) // contiguous and writable
	if err != nil {
		fmt.Println(err)
		return
	}
	copy(method, "PUT")
	if err := m.Pop(15, 12); err != nil { // the secret
		fmt.Println(err)
		return
	}
	if err := m.Push(5, 3); err != nil { // 3 zero bytes, to be written
		fmt.Println(err)
		return
	}
	dir, err := m.Pull(5, 8)
	if err != nil {
		fmt.Println(err)
		return
	}
	copy(dir, "v1/")
	fmt.Printf("%s\n", m.AppendTo(nil))
	fmt.Println("charged", acct.Charged())
	m.Release()
	fmt.Println("charged", acct.Charged())
	// Output:
	// PUT /v1/index.html HTTP/1.1
	// charged 27
	// charged 0
}

// Memory of one's own is sent without copying it: the file is one buffer, each message
// refers to a part of it, and done says when nobody does any more.
func ExampleWrap() {
	file := []byte("lines of a file that is mapped into memory")
	all, err := sgmsg.Wrap(file, func() { fmt.Println("may be unmapped") })
	if err != nil {
		fmt.Println(err)
		return
	}
	var m sgmsg.Message
	part := all
	part.Off, part.Len = 9, 6
	m.AppendShared(part) // takes a reference of its own
	all.Buf.Release()
	fmt.Printf("%s\n", m.AppendTo(nil))
	m.Release()
	// Output:
	// a file
	// may be unmapped
}

// A reader lets the standard library look at a message.
func ExampleReader() {
	arena := sgmsg.NewHeap(4096)
	var m sgmsg.Message
	for _, piece := range []string{`{"name": "ad`, `a", "born": 1815}`} {
		e, err := arena.Alloc(len(piece))
		if err != nil {
			fmt.Println(err)
			return
		}
		copy(e.Bytes(), piece)
		m.Append(e)
	}
	var who struct {
		Name string
		Born int
	}
	if err := json.NewDecoder(sgmsg.NewReader(&m)).Decode(&who); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(who.Name, who.Born, "in", m.Used(), "elements")
	m.Release()
	// Output: ada 1815 in 2 elements
}
