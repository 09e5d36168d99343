package sgmsg_test

import (
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
