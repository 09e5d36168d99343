package sgmsg

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/internal/invariants"
)

func TestNewArena(t *testing.T) {
	for _, c := range []struct{ bytes, block int }{{1000, 0}, {1000, -1}, {1000, 3}, {511, 512}, {MaxBlocks + 1, 1}} {
		if _, err := NewArena(make([]byte, c.bytes), c.block); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%d bytes in blocks of %d: %v", c.bytes, c.block, err)
		}
	}
	if _, err := NewPoolArena(make([]byte, 64), 64, nil); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a pool without recycle: %v", err)
	}
	a, err := NewArena(make([]byte, 1000), 64)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close(nil)
	if a.Blocks() != 15 || a.BlockSize() != 64 || len(a.Mem()) != 960 {
		t.Errorf("%d blocks of %d, %d bytes", a.Blocks(), a.BlockSize(), len(a.Mem()))
	}
	if id := a.ID(14); a.Block(id) != 14 || !a.Owns(id) {
		t.Errorf("block 14 is %d, owned %v", a.Block(id), a.Owns(id))
	}
}

// TestManyArenas: the indices of closed arenas are used again, and running out
// of them is an error.
func TestManyArenas(t *testing.T) {
	mem := make([]byte, 1)
	var all []*Arena
	for {
		a, err := NewArena(mem, 1)
		if err != nil {
			if !errors.Is(err, syscall.ENFILE) {
				t.Error(err)
			}
			break
		}
		all = append(all, a)
	}
	for _, a := range all {
		a.Close(nil)
	}
	if len(all) == 0 || len(all) >= maxArenas {
		t.Errorf("%d arenas", len(all))
	}
	a, err := NewArena(mem, 1)
	if err != nil {
		t.Fatal(err)
	}
	a.Close(nil)
}

func TestAlloc(t *testing.T) {
	a, err := NewArena(make([]byte, 1024), 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ n, capacity int }{{0, 64}, {1, 64}, {64, 64}, {65, 128}, {129, 256}, {1024, 1024}} {
		e, err := a.Alloc(c.n)
		if err != nil || int(e.Len) != c.n || e.Buf.Cap() != c.capacity || len(e.Bytes()) != c.n || a.InUse() != c.capacity {
			t.Errorf("Alloc(%d): %+v, capacity %d, %d in use, %v", c.n, e, e.Buf.Cap(), a.InUse(), err)
		}
		e.Buf.Release()
	}
	for _, n := range []int{1025, math.MaxInt32, math.MaxInt - 10, math.MaxInt} {
		if e, err := a.Alloc(n); !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("Alloc(%d): %+v, %v", n, e, err)
		}
	}
	if _, err := a.Alloc(-1); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Alloc(-1): %v", err)
	}
	if a.Held() != 0 || a.InUse() != 0 {
		t.Errorf("%d held, %d in use", a.Held(), a.InUse())
	}
	a.Close(nil)
	if _, err := a.Alloc(1); !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("after Close: %v", err)
	}
}

// TestBuddy allocates and frees at random in arenas of every block count: no two
// runs overlap, each is aligned, and in the end all is one again.
func TestBuddy(t *testing.T) {
	for blocks := 1; blocks <= 70; blocks++ {
		rnd := rand.New(rand.NewPCG(uint64(blocks), 0))
		var b, initial buddy
		b.init(blocks)
		initial.init(blocks)
		owner := make([]int, blocks) // 0 or the run's number
		type run struct{ blk, order, number int }
		var runs []run
		for step := range 400 {
			if rnd.IntN(2) == 0 {
				k := rnd.IntN(6)
				blk, ok := b.alloc(k)
				if !ok {
					// Refused only if there is no aligned free run.
					for at := 0; at+1<<k <= blocks; at += 1 << k {
						free := true
						for i := at; i < at+1<<k; i++ {
							free = free && owner[i] == 0
						}
						if free {
							t.Fatalf("%d blocks: order %d refused, blocks %d on are free", blocks, k, at)
						}
					}
					continue
				}
				if blk%(1<<k) != 0 || blk+1<<k > blocks {
					t.Fatalf("%d blocks: a run of order %d at %d", blocks, k, blk)
				}
				for i := blk; i < blk+1<<k; i++ {
					if owner[i] != 0 {
						t.Fatalf("%d blocks: block %d given out twice", blocks, i)
					}
					owner[i] = step + 1
				}
				runs = append(runs, run{blk, k, step + 1})
			} else if len(runs) > 0 {
				i := rnd.IntN(len(runs))
				r := runs[i]
				runs[i] = runs[len(runs)-1]
				runs = runs[:len(runs)-1]
				b.free(r.blk)
				for i := r.blk; i < r.blk+1<<r.order; i++ {
					if owner[i] != r.number {
						t.Fatalf("%d blocks: block %d changed hands", blocks, i)
					}
					owner[i] = 0
				}
			}
		}
		for _, r := range runs {
			b.free(r.blk)
		}
		b.cool()
		if b.head != initial.head {
			t.Fatalf("%d blocks: free lists %v, at first %v", blocks, b.head, initial.head)
		}
		for i := range blocks {
			if b.state[i] != initial.state[i] || b.state[i] == blockFree && b.order[i] != initial.order[i] {
				t.Fatalf("%d blocks: block %d is not as it was", blocks, i)
			}
		}
	}
}

// TestCloseLate: an arena closed while others hold buffers lives until the last
// is released, wherever that is, and is unmapped once.
func TestCloseLate(t *testing.T) {
	for _, pooled := range []bool{false, true} {
		for range 50 {
			const n = 32
			mem := make([]byte, n*64)
			var a *Arena
			var err error
			if pooled {
				a, err = NewPoolArena(mem, 64, func(BufID) {})
			} else {
				a, err = NewArena(mem, 64)
			}
			if err != nil {
				t.Fatal(err)
			}
			var unmapped atomic.Int32
			var wg sync.WaitGroup
			for i := range n {
				e := Element{Buf: a.ID(i), Len: 64}
				if pooled {
					a.Adopt(e.Buf)
				} else if e, err = a.Alloc(64); err != nil {
					t.Fatal(err)
				}
				wg.Go(func() {
					for k := range e.Bytes() {
						e.Bytes()[k] = 1
					}
					if unmapped.Load() != 0 {
						t.Error("unmapped while a buffer is held")
					}
					e.Buf.Release()
				})
			}
			a.Close(func(m []byte) {
				clear(m) // nobody may touch it any more: a conflict is a race
				unmapped.Add(1)
			})
			a.Close(func([]byte) { t.Error("closed twice") })
			wg.Wait()
			if unmapped.Load() != 1 || a.Held() != 0 {
				t.Fatalf("unmapped %d times, %d held", unmapped.Load(), a.Held())
			}
		}
	}
}

// TestAllocRacesClose: a buffer obtained while the arena is closed is usable.
func TestAllocRacesClose(t *testing.T) {
	for range 200 {
		a, err := NewArena(make([]byte, 64*64), 64)
		if err != nil {
			t.Fatal(err)
		}
		var unmapped atomic.Bool
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for {
					e, err := a.Alloc(64)
					if err != nil {
						return
					}
					e.Bytes()[0] = 1
					if unmapped.Load() {
						t.Error("allocated from an arena that is unmapped")
					}
					e.Buf.Release()
				}
			})
		}
		a.Close(func(m []byte) {
			clear(m)
			unmapped.Store(true)
		})
		wg.Wait()
		if !unmapped.Load() {
			t.Fatal("not unmapped")
		}
	}
}

// TestConcurrentRefs counts up and down from several goroutines.
func TestConcurrentRefs(t *testing.T) {
	a := NewHeap(8 << 10)
	defer a.Close(nil)
	e, err := a.Alloc(100)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		e.Buf.Retain()
		wg.Go(func() {
			for range 1000 {
				e.Buf.Retain()
				e.Buf.Release()
			}
			e.Buf.Release()
		})
	}
	wg.Wait()
	if e.Buf.Refs() != 1 {
		t.Errorf("%d references", e.Buf.Refs())
	}
	e.Buf.Release()
	if a.Held() != 0 {
		t.Error("still held")
	}
}

func TestNotify(t *testing.T) {
	a := NewHeap(4096)
	defer a.Close(nil)
	n := 0
	a.Notify(func() { n++ })
	e, err := a.Alloc(4096)
	if err != nil {
		t.Fatal(err)
	}
	e.Buf.Retain()
	e.Buf.Release()
	if n != 0 {
		t.Error("notified although the buffer is held")
	}
	e.Buf.Release()
	if n != 1 {
		t.Errorf("notified %d times", n)
	}
}

func TestLeaks(t *testing.T) {
	a := NewHeap(4096)
	e, err := a.Alloc(1)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	n := a.WriteLeaks(&b)
	if invariants.Enabled && (n != 1 || !strings.Contains(b.String(), "TestLeaks")) {
		t.Errorf("%d leaks:\n%s", n, b.String())
	}
	if !invariants.Enabled && n+b.Len() != 0 {
		t.Errorf("%d leaks in a plain build", n)
	}
	e.Buf.Release()
	if n := a.WriteLeaks(&b); n != 0 {
		t.Errorf("%d leaks after Release", n)
	}
	a.Close(nil)
}
