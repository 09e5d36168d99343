package bench

import (
	"sync"
	"time"
)

// Garbage plays the rest of a program in whose process a server runs: it allocates, so that
// the garbage collector has to work.
type Garbage struct {
	stop chan struct{}
	wait sync.WaitGroup
}

const (
	garbageTick = time.Millisecond // what is due is allocated so often
	garbageLive = 64 << 20         // bytes that are reachable at any time
)

// litter is one object: 256 bytes, of which a pointer for the collector to follow.
type litter struct {
	next *litter
	_    [248]byte
}

const litterBytes = 256

// StartGarbage allocates so many bytes per second, in objects of 256 bytes linked to each
// other, and keeps the last 64 MiB of them reachable, until Stop. It takes little more
// processor time than allocating does.
func StartGarbage(bytesPerSecond int) *Garbage {
	g := &Garbage{stop: make(chan struct{})}
	g.wait.Add(1)
	go func() {
		defer g.wait.Done()
		g.run(bytesPerSecond)
	}()
	return g
}

func (g *Garbage) run(bytesPerSecond int) {
	var chains [64]*litter // a 64th of the live bytes each; the oldest is dropped as a whole
	count, at := 0, 0
	tick := time.NewTicker(garbageTick)
	defer tick.Stop()
	last := time.Now()
	for owed := 0.0; ; {
		select {
		case <-g.stop:
			return
		case now := <-tick.C:
			owed += now.Sub(last).Seconds() * float64(bytesPerSecond) / litterBytes
			last = now
			for ; owed >= 1; owed-- {
				chains[at] = &litter{next: chains[at]}
				if count++; count == garbageLive/litterBytes/len(chains) {
					count, at = 0, (at+1)%len(chains)
					chains[at] = nil
				}
			}
		}
	}
}

// Stop ends it and returns when it has.
func (g *Garbage) Stop() {
	close(g.stop)
	g.wait.Wait()
}
