package bench

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Workload says what is sent. It depends on nothing of the machine: the same
// Workload gives the same messages, in the same order on each connection, and in
// an open loop at the same intended times.
type Workload struct {
	// Conns is the number of connections.
	Conns int
	// Depth is how many messages each connection keeps in flight in a closed
	// loop: every reply is followed by the next message. An open loop takes no
	// notice of it.
	Depth int
	// Size is the length of the payloads in bytes, fixed or a range from which
	// each message's is drawn.
	Size Sizes
	// Rate is the number of messages per second over all connections, whether
	// or not replies come: an open loop. 0 is a closed loop.
	Rate float64
	// Arrival spaces the messages of an open loop.
	Arrival Arrival
	// Duration is how long is measured, Warmup how long messages are sent before
	// that. A message belongs to where its intended time lies (in a closed loop
	// the time it was sent).
	Duration, Warmup time.Duration
	// Seed determines sizes, service times and Poisson arrivals.
	Seed uint64
	// Service is how long the server is to work on each message, which the message
	// tells it. The zero Service asks for no work.
	Service Service
	// Mode is how the server passes the service time.
	Mode Mode
	// Unordered lets the replies of a connection come in any order. A message may
	// then be overtaken by as many as its connection's window has room for (see
	// window.go); it must be answered before the connection goes on.
	Unordered bool
}

// Limits of a Workload.
const (
	MaxConns = 1 << 20
	MaxDepth = 1 << 16
	MaxSize  = 64 << 20
)

// OptionError is an option that cannot work. Its text begins with the option's
// name, the one of the flag too.
type OptionError struct {
	Option string
	Value  any
	Want   string
}

func (e *OptionError) Error() string { return fmt.Sprintf("%s %v: want %s", e.Option, e.Value, e.Want) }

// Check returns an *OptionError for the first value that cannot work, or nil.
func (w *Workload) Check() error {
	switch {
	case w.Conns < 1 || w.Conns > MaxConns:
		return &OptionError{"conns", w.Conns, fmt.Sprintf("1 to %d", MaxConns)}
	case w.Depth < 1 || w.Depth > MaxDepth:
		return &OptionError{"depth", w.Depth, fmt.Sprintf("1 to %d", MaxDepth)}
	case w.Size.Min < 0 || w.Size.Max < w.Size.Min || w.Size.Max > MaxSize:
		return &OptionError{"size", w.Size, fmt.Sprintf("0 to %d bytes", MaxSize)}
	case !w.Service.None() && w.Size.Min < workBytes+numberBytes:
		return &OptionError{"size", w.Size, fmt.Sprintf("at least %d bytes, for service time and number", workBytes+numberBytes)}
	case w.Unordered && w.Size.Min < numberBytes:
		return &OptionError{"size", w.Size, fmt.Sprintf("at least %d bytes, for the number that finds a reply out of order", numberBytes)}
	case !(w.Rate >= 0 && w.Rate <= 1e9):
		return &OptionError{"rate", w.Rate, "0 to 1e9 messages per second"}
	case w.Arrival > Poisson:
		return &OptionError{"arrival", w.Arrival, "fixed or poisson"}
	case w.Duration <= 0:
		return &OptionError{"duration", w.Duration, "a positive time"}
	case w.Warmup < 0:
		return &OptionError{"warmup", w.Warmup, "a time, or 0"}
	case w.Mode > ModeSleep:
		return &OptionError{"service-mode", w.Mode, "auto, spin or sleep"}
	}
	if want := w.Service.problem(); want != "" {
		return &OptionError{"service", w.Service, want}
	}
	return nil
}

// Open reports whether messages are sent at given times, whatever the replies.
func (w *Workload) Open() bool { return w.Rate > 0 }

// Arrival spaces messages in time.
type Arrival uint8

const (
	Fixed   Arrival = iota // equal distances
	Poisson                // independent, exponentially distributed distances
)

func (a Arrival) String() string {
	if a > Poisson {
		return "arrival " + strconv.Itoa(int(a))
	}
	return [...]string{"fixed", "poisson"}[a]
}

// ParseArrival is the inverse of String.
func ParseArrival(s string) (Arrival, error) {
	for a := Fixed; a <= Poisson; a++ {
		if s == a.String() {
			return a, nil
		}
	}
	return 0, fmt.Errorf("want fixed or poisson")
}

// Sizes are the lengths of payloads: from Min to Max, both included, all equally
// likely.
type Sizes struct{ Min, Max int }

// String is a number of bytes, or MIN-MAX.
func (s Sizes) String() string {
	if s.Min == s.Max {
		return strconv.Itoa(s.Min)
	}
	return fmt.Sprintf("%d-%d", s.Min, s.Max)
}

// ParseSizes reads SIZE or MIN-MAX, each as ParseBytes does.
func ParseSizes(text string) (Sizes, error) {
	low, high, ranged := strings.Cut(text, "-")
	if !ranged {
		high = low
	}
	lo, err := ParseBytes(low)
	if err != nil {
		return Sizes{}, err
	}
	hi, err := ParseBytes(high)
	if err != nil {
		return Sizes{}, err
	}
	if hi < lo {
		return Sizes{}, fmt.Errorf("the range runs backwards")
	}
	return Sizes{lo, hi}, nil
}

// MarshalJSON writes a number, or for a range a string "MIN-MAX".
func (s Sizes) MarshalJSON() ([]byte, error) {
	if s.Min == s.Max {
		return json.Marshal(s.Min)
	}
	return json.Marshal(s.String())
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Sizes) UnmarshalJSON(b []byte) (err error) {
	*s, err = ParseSizes(strings.Trim(string(b), `"`))
	return err
}

// ParseBytes reads a number of bytes: digits, optionally followed by KiB, MiB or
// GiB.
func ParseBytes(s string) (int, error) {
	digits, unit := s, 1
	for i, name := range []string{"KiB", "MiB", "GiB"} {
		if rest, ok := strings.CutSuffix(s, name); ok {
			digits, unit = rest, 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n > uint64(math.MaxInt/unit) {
		return 0, fmt.Errorf("want a number of bytes such as 64, 4KiB or 16MiB")
	}
	return int(n) * unit, nil
}

// connsOf returns how many connections a thread has: connection j is thread
// j modulo threads' own.
func (w *Workload) connsOf(thread, threads int) int {
	return (w.Conns - thread + threads - 1) / threads
}
