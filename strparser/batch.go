package strparser

import (
	"encoding/binary"
	"math/bits"
	"sync"

	"github.com/kcm-go/kcm/sgmsg"
)

// Batch is a run of messages that lie one behind the other in one chunk, each of them
// whole. It is for handlers that take so little time for a message that the call is
// felt: a loop over a batch takes half the time of Message.
//
//	Batch: func(p *strparser.Parser, b *strparser.Batch) {
//		for i := range b.Len() {
//			handle(b.Bytes(i))
//		}
//	}
//
// Not every message that lies whole in a chunk comes in a batch: see Options.Batch.
//
// A batch and the bytes of its messages are lent until the callback returns, and not
// to be written. Whoever keeps a message shares its element:
//
//	queue.AppendShared(b.Elem(i)) // neighbours become one element
type Batch struct {
	chunk sgmsg.Element
	b     []byte // of the chunk
	n     int
	ends  [batchMax + 1]uint32 // message i is b[ends[i]:ends[i+1]]
}

// batchMax is long enough that the cost of a batch is spread, and short enough that
// what is handled is in the first-level cache still.
const batchMax = 64

// batches are those not in use: a parser has one only while it delivers.
var batches = sync.Pool{New: func() any { return new(Batch) }}

// Len returns the number of messages, at least 1.
func (b *Batch) Len() int { return b.n }

// Bytes returns message i, 0 <= i < Len, header included.
func (b *Batch) Bytes(i int) []byte {
	ends := b.ends[:b.n+1] // the check of i, in a form that is inlined
	return b.b[ends[i]:ends[i+1]:ends[i+1]]
}

// Elem returns message i, 0 <= i < Len, as an element. The reference stays with the
// lower.
func (b *Batch) Elem(i int) sgmsg.Element {
	ends := b.ends[:b.n+1]
	return sgmsg.Element{Buf: b.chunk.Buf, Off: b.chunk.Off + ends[i], Len: ends[i+1] - ends[i]}
}

// batchRun is deliverRun for those who want batches.
func (p *Parser) batchRun(chunk sgmsg.Element, b []byte, at, max int) (int, bool) {
	batch := batches.Get().(*Batch)
	batch.chunk, batch.b = chunk, b
	more := true
	for more {
		n := p.profile.prefix.scan(b, at, max, &batch.ends)
		if n == 0 {
			break
		}
		batch.n = n
		p.stats.Messages += uint64(n)
		p.profile.opt.Batch(p, batch)
		at = int(batch.ends[n])
		more = !p.paused.Load() && !p.stopped.Load()
	}
	batch.b = nil
	batches.Put(batch)
	return at, more
}

// scan finds messages from byte at on, notes where they end behind ends[0] = at, and
// returns how many there are. It stops where deliverRun does.
//
// Where the next message is depends on the length of this one, so that the processor
// would wait for one load after the other. Where the field has the same bytes as the
// one before, its value is not taken from the load: that is only compared, and the
// processor, which guesses the outcome, goes ahead.
func (x *prefix) scan(b []byte, at, max int, ends *[batchMax + 1]uint32) int {
	ends[0] = uint32(at)
	off, shift := x.off, x.shift&63
	var last uint64 // what the field of the message before was cut out of
	n, k := 0, 0
	for limit := len(b) - off - 8; k < batchMax && at <= limit; {
		raw := binary.LittleEndian.Uint64(b[at+off:]) << shift
		if raw != last || n == 0 {
			last = raw
			field := bits.ReverseBytes64(raw)
			if x.little {
				field = raw >> shift
			}
			if field > uint64(len(b)-at) {
				break
			}
			n = int(int64(field) + x.add)
			if n < x.header || n > max {
				break
			}
		}
		if n > len(b)-at {
			break
		}
		at += n
		k++
		ends[k] = uint32(at)
	}
	return k
}
