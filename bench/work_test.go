package bench

import (
	"runtime"
	"testing"
	"time"

	"github.com/kcm-go/kcm/sgmsg"
)

// asking returns a message whose payload is payload.
func asking(t *testing.T, payload ...byte) *sgmsg.Message {
	t.Helper()
	e, err := sgmsg.NewHeap(1 << 16).Alloc(lengthBytes + len(payload))
	if err != nil {
		t.Fatal(err)
	}
	copy(e.Bytes(), append([]byte{0, 0, 0, byte(len(payload))}, payload...))
	m := new(sgmsg.Message)
	m.Append(e)
	return m
}

// elapsed returns the time and the CPU time that work takes.
func elapsed(work func()) (wall, cpu time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start, used := time.Now(), threadCPU()
	work()
	return time.Since(start), threadCPU() - used
}

func TestDoWork(t *testing.T) {
	const us = 30_000
	for name, c := range map[string]struct {
		payload []byte
		least   time.Duration
		asleep  bool
	}{
		"spin":      {[]byte{0, 0, us >> 8, us & 0xff, 0}, us * time.Microsecond, false},
		"sleep":     {[]byte{0, 0, us >> 8, us & 0xff, 1, 'x'}, us * time.Microsecond, true},
		"nothing":   {[]byte{0, 0, 0, 0, 0}, 0, false},
		"too short": {[]byte{0xff, 0xff, 0xff, 0xff}, 0, false}, // over an hour if it counted
		"empty":     {nil, 0, false},
	} {
		m := asking(t, c.payload...)
		wall, cpu := elapsed(func() { DoWork(m) })
		if wall < c.least {
			t.Errorf("%s: took %v, want %v", name, wall, c.least)
		}
		if c.asleep && cpu > c.least/2 || !c.asleep && cpu < c.least*3/4 {
			t.Errorf("%s: took %v of CPU time", name, cpu)
		}
		m.Release()
	}
}

func TestWorkAllocatesNothing(t *testing.T) {
	for _, how := range []byte{0, 1} {
		m := asking(t, 0, 0, 0, 1, how)
		if n := testing.AllocsPerRun(20, func() { DoWork(m) }); n != 0 {
			t.Errorf("byte %d: %v allocations", how, n)
		}
		m.Release()
	}
}
