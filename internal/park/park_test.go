package park

import (
	"sync"
	"testing"
)

func each(t *testing.T, fn func(t *testing.T, futex bool)) {
	t.Run("runtime", func(t *testing.T) { fn(t, false) })
	t.Run("futex", func(t *testing.T) { fn(t, true) })
}

func TestWakeFirst(t *testing.T) {
	each(t, func(t *testing.T, futex bool) {
		var p Parker
		p.Init(futex)
		p.Wake()
		p.Wake() // they do not add up
		p.Wait()
		if p.state.Load() != none || len(p.token) != 0 {
			t.Error("a token was left")
		}
	})
}

// Two goroutines wake each other in turn: a lost wake would hang.
func TestPingPong(t *testing.T) {
	each(t, func(t *testing.T, futex bool) {
		const rounds = 5000
		var a, b Parker
		a.Init(futex)
		b.Init(futex)
		turn := 0 // guarded by the wakes
		var wg sync.WaitGroup
		play := func(mine, theirs *Parker, parity int) {
			for i := range rounds {
				mine.Wait()
				if turn != 2*i+parity {
					t.Errorf("turn %d, want %d", turn, 2*i+parity)
				}
				turn++
				theirs.Wake()
			}
		}
		wg.Go(func() { play(&a, &b, 0) })
		wg.Go(func() { play(&b, &a, 1) })
		a.Wake()
		wg.Wait()
	})
}

func TestWaitOr(t *testing.T) {
	var p Parker
	p.Init(false)
	done := make(chan struct{})
	p.Wake()
	if !p.WaitOr(done) {
		t.Error("the token was overlooked")
	}
	close(done)
	if p.WaitOr(done) {
		t.Error("woken by nobody")
	}
}

func BenchmarkPingPong(b *testing.B) {
	for _, futex := range []bool{false, true} {
		b.Run(map[bool]string{false: "runtime", true: "futex"}[futex], func(b *testing.B) {
			var p, q Parker
			p.Init(futex)
			q.Init(futex)
			go func() {
				for range b.N {
					q.Wait()
					p.Wake()
				}
			}()
			for range b.N {
				q.Wake()
				p.Wait()
			}
		})
	}
}
