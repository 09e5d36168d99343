package bench

import (
	"reflect"
	"runtime"
	"testing"
	"time"
)

func TestGarbage(t *testing.T) {
	if n := reflect.TypeFor[litter]().Size(); n != litterBytes {
		t.Errorf("an object has %d bytes", n)
	}
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	now = before
	began := time.Now()
	const perSecond = 200 << 20
	g := StartGarbage(perSecond)
	// What is owed for a pause is made up for, so the mean is right at any time but for a tick
	// or two.
	for tick := time.Tick(20 * time.Millisecond); now.TotalAlloc-before.TotalAlloc < 40<<20; {
		<-tick
		runtime.ReadMemStats(&now)
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%d bytes in 20 s", now.TotalAlloc-before.TotalAlloc)
		}
	}
	g.Stop()
	took := time.Since(began)
	runtime.ReadMemStats(&now)
	if most := float64(perSecond)*took.Seconds() + 8<<20; float64(now.TotalAlloc-before.TotalAlloc) > most {
		t.Errorf("%d bytes in %v, want %.0f at most", now.TotalAlloc-before.TotalAlloc, took, most)
	}
	after := now.TotalAlloc
	runtime.ReadMemStats(&now)
	if now.TotalAlloc-after > 1<<20 {
		t.Error("it goes on")
	}
}
