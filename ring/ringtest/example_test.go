package ringtest_test

import (
	"fmt"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
)

// A loop receives what a far end sends, one byte at a time if the simulator
// likes, and in the same way whenever it is run with this seed.
func Example() {
	o := ringtest.Calm()
	o.Odds[ringtest.TinyRecv] = 1
	sim := ringtest.New(42, o)

	pool, err := sgmsg.NewPoolArena(make([]byte, 8<<9), 512, func(sgmsg.BufID) {})
	if err != nil {
		panic(err)
	}
	b, _ := sim.Open(backend.Config{Pool: pool})
	for i := range pool.Blocks() {
		b.Provide([]sgmsg.BufID{pool.ID(i)})
	}

	fd, peer := sim.Pair()
	b.Attach(fd)
	b.Recv(backend.MakeKey(backend.OpRecv, 1, 1), fd)
	peer.Write([]byte("hello"))
	peer.Close()

	var got []byte
	events := make([]backend.Event, 16)
	ended := false
	turn := func() {
		n, _ := b.Wait(events, -1)
		for _, e := range events[:n] {
			if e.Res > 0 {
				got = append(got, sgmsg.Element{Buf: e.Buf, Len: uint32(e.Res)}.Bytes()...)
				e.Buf.Release()
			}
			ended = !e.More
		}
	}
	if err := sim.Run(func() bool { return ended }, turn); err != nil {
		fmt.Println(err, sim.Dump())
	}
	fmt.Printf("%s, in several pieces: %v\n", got, sim.Hits(ringtest.TinyRecv) > 1)
	b.Close()
	pool.Close(nil)
	// Output: hello, in several pieces: true
}
