package echo

import (
	"encoding/binary"
	"time"

	"github.com/kcm-go/kcm/bench"
)

// workLen is how many bytes at the start of a payload say what the message
// costs:
//
//	byte 0-3  service time in microseconds, big endian
//	byte 4    1: the worker sleeps that long; anything else: it spins
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
	if payload[4] == 1 {
		return work{sleep: d}
	}
	return work{spin: d}
}

// do spends the time. The spin takes as much of a processor's time, as a
// computation would; the sleep takes a worker and no processor, as a request to
// a database would. It is the same spin as that of kcmbench serve.
func (w work) do() {
	if w.sleep > 0 {
		time.Sleep(w.sleep)
		return
	}
	if w.spin > 0 {
		bench.Spin(w.spin)
	}
}
