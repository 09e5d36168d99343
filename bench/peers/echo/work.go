package echo

import (
	"encoding/binary"
	"time"
)

// workLen is how many bytes at the start of a payload say what the message
// costs:
//
//	byte 0-3  service time in microseconds, big endian
//	byte 4    0: the worker spins that long; anything else: it sleeps
//
// A shorter payload costs nothing.
const workLen = 5

// work is what a server does for a message before it answers.
type work struct {
	spin, sleep time.Duration // one of them is zero
}

// workOf reads what the message in a whole frame costs.
func workOf(frame []byte) work {
	payload := frame[HeaderLen:]
	if len(payload) < workLen {
		return work{}
	}
	d := time.Duration(binary.BigEndian.Uint32(payload)) * time.Microsecond
	if payload[4] == 0 {
		return work{spin: d}
	}
	return work{sleep: d}
}

// do spends the time. The spin takes a processor the whole time, as a
// computation would; the sleep takes a worker and no processor, as a request to
// a database would.
func (w work) do() {
	if w.sleep > 0 {
		time.Sleep(w.sleep)
		return
	}
	if w.spin > 0 {
		for start := time.Now(); time.Since(start) < w.spin; {
		}
	}
}
