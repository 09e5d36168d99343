package bench

import (
	"fmt"
	"strconv"
	"time"

	"github.com/kcm-go/kcm/sgmsg"
)

// Dispatch says who handles the messages of a Server.
type Dispatch uint8

const (
	Inline Dispatch = iota // the loop of the connection
	Idle                   // workers, by the policy mux.Idle
	FIFO                   // workers, by the policy mux.FIFO
)

func (d Dispatch) String() string {
	if d > FIFO {
		return "policy " + strconv.Itoa(int(d))
	}
	return [...]string{"inline", "idle", "fifo"}[d]
}

// ParseDispatch is the inverse of String.
func ParseDispatch(s string) (Dispatch, error) {
	for d := Inline; d <= FIFO; d++ {
		if s == d.String() {
			return d, nil
		}
	}
	return 0, fmt.Errorf("want inline, idle or fifo")
}

// Work says what a Server does with a message before it answers.
type Work uint8

const (
	WorkFixed   Work = iota // ServerOptions.Service, for every message
	WorkMessage             // what the message carries, see DoWork
)

func (w Work) String() string {
	if w > WorkMessage {
		return "work " + strconv.Itoa(int(w))
	}
	return [...]string{"fixed", "message"}[w]
}

// ParseWork is the inverse of String.
func ParseWork(s string) (Work, error) {
	for w := WorkFixed; w <= WorkMessage; w++ {
		if s == w.String() {
			return w, nil
		}
	}
	return 0, fmt.Errorf("want fixed or message")
}

// task returns what is to be done with each message before it is answered, nil if
// nothing is. It may be called on any thread, and occupies it.
func (o *ServerOptions) task() func(*sgmsg.Message) {
	switch d := o.Service; {
	case o.Work == WorkMessage:
		header := o.Frame.Format().HeaderLen()
		return func(msg *sgmsg.Message) { doWork(msg, header) }
	case d > 0:
		return func(*sgmsg.Message) { Spin(d) }
	}
	return nil
}

// DoWork does the work that a message of the framing len32 carries: bytes 0-3
// of the payload are microseconds, big endian, MaxService at most; byte 4 says how to
// pass them: 1 asleep, anything else computing. A payload of less than 5 bytes carries
// none. The message is only read.
func DoWork(msg *sgmsg.Message) { doWork(msg, lengthBytes) }

func doWork(msg *sgmsg.Message, header int) {
	d, sleep, ok := workOf(msg, header)
	switch {
	case !ok:
	case sleep:
		time.Sleep(d)
	default:
		Spin(d)
	}
}

// Spin keeps the calling thread busy for d, as a handler does that computes. Time in which
// the thread did not run does not count, as it would not for a computation: so two that
// share a processor take twice as long.
func Spin(d time.Duration) {
	last := time.Now()
	for done := time.Duration(0); done < d; {
		now := time.Now()
		done += min(now.Sub(last), interruption)
		last = now
	}
}

// interruption is a step of Spin in which the thread must have been interrupted.
const interruption = time.Microsecond
