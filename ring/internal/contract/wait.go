package contract

import (
	"sync"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// testCloseAtOnce: a backend that never did anything closes, buffers and all.
func testCloseAtOnce(t *testing.T, h Harness, _ string) {
	d := newBed(t, h, defaultSizes)
	if d.b.Name() == "" {
		t.Error("the backend has no name")
	}
	d.close()
}

// testTimeout: Wait does not end long before its time-out (a signal may end a
// few early), nor long after.
func testTimeout(t *testing.T, h Harness, _ string) {
	d := newBed(t, h, defaultSizes)
	for _, timeout := range []time.Duration{0, 300 * time.Microsecond, 20 * time.Millisecond} {
		full := false
		for range 50 {
			start := d.b.Now()
			if n := d.turn(timeout); n != 0 {
				t.Fatalf("Wait(%v) returned %d events", timeout, n)
			}
			took := d.b.Now() - start
			if took > timeout+10*time.Second {
				t.Fatalf("Wait(%v) took %v", timeout, took)
			}
			if took >= timeout-timeout/10 {
				full = true
				break
			}
		}
		if !full {
			t.Errorf("Wait(%v) always ended early", timeout)
		}
	}
	before := d.b.Stats().Waits
	d.turn(0)
	if after := d.b.Stats().Waits; after != before+1 {
		t.Errorf("Stats().Waits went from %d to %d in one Wait", before, after)
	}
}

// testWakeBefore: a Wake between two Waits ends the next one, however many there
// were, and does not end all that follow.
func testWakeBefore(t *testing.T, h Harness, _ string) {
	d := newBed(t, h, defaultSizes)
	for i := range 1000 { // more often than a byte can count
		wakes := i%4 + 1
		if i%8 == 0 {
			d.turn(0)
		}
		for range wakes {
			d.b.Wake()
		}
		d.awake()
	}
	d.b.Wake()
	d.turn(-1)
	for range 50 {
		start := d.b.Now()
		d.turn(10 * time.Millisecond)
		if d.b.Now()-start >= 9*time.Millisecond {
			return
		}
	}
	t.Error("Wait keeps waking without a Wake")
}

// awake is a Wait that a Wake must end.
func (d *bed) awake() {
	d.t.Helper()
	start := d.b.Now()
	d.turn(patience)
	if took := d.b.Now() - start; took >= patience {
		d.t.Fatalf("Wait took %v in spite of a Wake", took)
	}
}

// testWakeDuring: a Wake from another goroutine ends a Wait.
func testWakeDuring(t *testing.T, h Harness, _ string) {
	if h.Virtual {
		t.Skip("the backend does not sleep")
	}
	d := newBed(t, h, defaultSizes)
	var wakers sync.WaitGroup
	defer wakers.Wait() // before Close
	for range 100 {
		started := make(chan struct{})
		wakers.Go(func() {
			close(started)
			d.b.Wake()
		})
		<-started // now as close to the Wait as can be, on either side of it
		d.awake()
	}

	// Many at once, until each has been served.
	const n = 8
	done := make(chan struct{}, n)
	for range n {
		wakers.Go(func() {
			for range 50 {
				d.b.Wake()
			}
			done <- struct{}{}
			d.b.Wake() // the Wait that this one ends finds done filled
		})
	}
	for seen := 0; seen < n; {
		d.awake()
		for len(done) > 0 {
			<-done
			seen++
		}
	}
}

// testCancelNothing: cancelling what is not in flight does nothing.
func testCancelNothing(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	d.b.Cancel(backend.MakeKey(backend.OpRecv, 1, 1))
	d.b.Cancel(backend.MakeKey(backend.OpAccept, 0xffffff, 1<<20))
	d.idle(3)

	fd, peer := d.pair(network)
	d.b.Cancel(backend.MakeKey(backend.OpRecv, d.conns[fd].gen, d.conns[fd].slot))
	o := d.recv(fd)
	d.b.Cancel(backend.MakeKey(backend.OpRead, d.conns[fd].gen, d.conns[fd].slot))
	d.b.Cancel(backend.MakeKey(backend.OpRecv, d.conns[fd].gen-1, d.conns[fd].slot))
	d.write(peer, []byte("goes on"))
	d.received(o, []byte("goes on"))
}
