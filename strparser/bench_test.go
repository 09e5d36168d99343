//go:build linux

package strparser_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// replay is a Lower that offers the same chunks over and over.
type replay struct {
	sgmsg.Allocator
	chunks []sgmsg.Element
	next   int
	off    int
	unread int
}

func newReplay(tb testing.TB, stream []byte, size int) *replay {
	r := &replay{}
	blocks := (len(stream) + size - 1) / size
	var ids []sgmsg.BufID
	pool, err := sgmsg.NewPoolArena(make([]byte, blocks*size), size, func(sgmsg.BufID) {})
	if err != nil {
		tb.Fatal(err)
	}
	private := sgmsg.NewHeap(1 << 20)
	r.Allocator = private
	for i := range blocks {
		id := pool.ID(i)
		pool.Adopt(id)
		ids = append(ids, id)
		e := sgmsg.Element{Buf: id, Len: uint32(min(size, len(stream)-i*size))}
		copy(e.Bytes(), stream[i*size:])
		r.chunks = append(r.chunks, e)
	}
	tb.Cleanup(func() {
		for _, id := range ids {
			id.Release()
		}
		if pool.Held()+private.Held() > 0 {
			tb.Error("buffers are still held")
		}
		pool.Close(nil)
		private.Close(nil)
	})
	return r
}

func (r *replay) rewind() {
	r.next, r.off, r.unread = 0, 0, 0
	for _, e := range r.chunks {
		r.unread += int(e.Len)
	}
}

func (r *replay) Readable() int { return r.unread }
func (r *replay) Peek() (sgmsg.Element, bool) {
	if r.next == len(r.chunks) {
		return sgmsg.Element{}, false
	}
	e := r.chunks[r.next]
	e.Off += uint32(r.off)
	e.Len -= uint32(r.off)
	return e, true
}
func (r *replay) Consume(n int) {
	r.unread -= n
	if r.off += n; r.off == int(r.chunks[r.next].Len) {
		r.next, r.off = r.next+1, 0
	}
}
func (*replay) Want(int)                         {}
func (*replay) Full() bool                       { return false }
func (*replay) Post(error)                       {}
func (*replay) Kick()                            {}
func (*replay) StartTimer(time.Duration, uint32) {}
func (*replay) StopTimer()                       {}

// prefixed returns messages with a 4-byte prefix, of size bytes in all.
func prefixed(count, size int) []byte {
	var b []byte
	for range count {
		b = binary.BigEndian.AppendUint32(b, uint32(size-4))
		b = append(b, make([]byte, size-4)...)
	}
	return b
}

var benchFormats = []struct {
	name string
	f    strparser.Format
}{
	{"length32", strparser.Length32},
	{"func", strparser.ParseFunc(func(v *strparser.View) (int, error) {
		h := v.Head()
		if len(h) < 4 {
			return 0, nil
		}
		return int(binary.BigEndian.Uint32(h)) + 4, nil
	})},
}

// BenchmarkDeliver is the cost of one message, delivered to a callback that does
// nothing: 256 KiB in chunks of 16 KiB. The last chunk of the odd sizes holds a
// part only, so messages cross every chunk boundary.
func BenchmarkDeliver(b *testing.B) {
	for _, f := range benchFormats {
		for _, size := range []int{64, 65, 1024, 16384, 65536} {
			b.Run(fmt.Sprintf("%s/%d", f.name, size), func(b *testing.B) {
				count := (256 << 10) / size
				r := newReplay(b, prefixed(count, size), 16<<10)
				p, err := strparser.New(r, strparser.Options{
					Format:  f.f,
					Message: func(*strparser.Parser, *sgmsg.Message) {},
				})
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				for n := 0; n < b.N; n += count {
					r.rewind()
					p.DataReady()
				}
				b.StopTimer()
				if st := p.Stats(); st.Messages < uint64(b.N) || p.Stopped() {
					b.Fatalf("%+v, %v", st, p.Err())
				}
			})
		}
	}
}

// BenchmarkBatch is BenchmarkDeliver by batches, to a callback that looks at the first
// and the last byte: messages of one size, for which the parser guesses right, and of
// sizes that change at random.
func BenchmarkBatch(b *testing.B) {
	const count = 4096
	rng := rand.New(rand.NewPCG(1, 64))
	for _, c := range []struct {
		name string
		size func() int
	}{
		{"64", func() int { return 64 }},
		{"16to112", func() int { return 16 + rng.IntN(97) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			var stream []byte
			for range count {
				stream = append(stream, prefixed(1, c.size())...)
			}
			r := newReplay(b, stream, 64<<10)
			sum, alone := 0, 0
			p, err := strparser.New(r, strparser.Options{
				Format:  strparser.Length32,
				Message: func(*strparser.Parser, *sgmsg.Message) { alone++ },
				Batch: func(_ *strparser.Parser, batch *strparser.Batch) {
					for i := range batch.Len() {
						m := batch.Bytes(i)
						sum += int(m[4]) + int(m[len(m)-1])
					}
				},
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += count {
				r.rewind()
				p.DataReady()
			}
			b.StopTimer()
			if st := p.Stats(); st.Messages < uint64(b.N) || p.Stopped() || sum != 0 || alone > b.N/500+count {
				b.Fatalf("%+v, %v, sum %d, %d alone", st, p.Err(), sum, alone)
			}
		})
	}
}

// BenchmarkMoveTo is a message delivered, moved to a queue of its connection,
// and eaten from there: the way of a message that is echoed.
func BenchmarkMoveTo(b *testing.B) {
	const size, count = 64, 4096
	r := newReplay(b, prefixed(count, size), 16<<10)
	var out sgmsg.Message
	p, err := strparser.New(r, strparser.Options{
		Format:  strparser.Length32,
		Message: func(_ *strparser.Parser, m *sgmsg.Message) { m.MoveTo(&out) },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for n := 0; n < b.N; n += count {
		r.rewind()
		p.DataReady()
		out.TrimFront(out.Len())
	}
}

// TestNoAllocations runs the same roads as the benchmarks.
func TestNoAllocations(t *testing.T) {
	for _, f := range benchFormats {
		for _, size := range []int{64, 65, 1000, 20000} {
			var out sgmsg.Message
			r := newReplay(t, prefixed(max(4, (64<<10)/size), size), 4<<10)
			p, err := strparser.New(r, strparser.Options{
				Format: f.f, AssemblyTimeout: time.Second,
				Message: func(_ *strparser.Parser, m *sgmsg.Message) { m.MoveTo(&out) },
			})
			if err != nil {
				t.Fatal(err)
			}
			run := func() {
				r.rewind()
				for r.unread > 0 { // cut short now and then, so that messages wait
					p.DataReady()
					p.Check()
				}
				out.TrimFront(out.Len())
			}
			run()
			if n := testing.AllocsPerRun(10, run); n != 0 && !invariantsOrRace {
				t.Errorf("%s, %d bytes: %v allocations", f.name, size, n)
			}
			if p.Stats().Messages == 0 || p.InProgress() > 0 {
				t.Errorf("%+v, %d in hand", p.Stats(), p.InProgress())
			}
		}
	}
}
