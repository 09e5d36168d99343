package bench

import (
	"fmt"
	"strconv"
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
	// Size is the distribution of the lengths of payloads.
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
	// Frame is the framing of messages both ways.
	Frame Frame
	// Kinds, if there are any, are what messages are, in place of Size and Service. Each
	// is a Class of its own.
	Kinds []Kind
	// Profile changes the rate of an open loop.
	Profile Profile
	// Replay is a schedule in place of Rate, Arrival and Profile: an open loop whose
	// messages are due at these nanoseconds from the start, in ascending order. They go
	// round the connections.
	Replay *Values
	// Batch is how many messages of a connection are sent together, in one write unless
	// they are too long for one; 1 when 0. An open loop has the messages of a batch due
	// at one time, and Rate is that of messages all the same; a closed one waits until
	// replies have made room for a batch.
	Batch int
	// Think is how long a connection of a closed loop waits after a reply before the
	// next message takes its place.
	Think Service
	// Churn ends connections and makes them anew.
	Churn Churn
}

// Churn says when a connection ends. It sends no more then, is closed when its replies
// are there, and is connected anew; messages that are due meanwhile wait, and are late.
// The first lives are shorter, so that connections do not end together. The zero Churn
// keeps them.
type Churn struct {
	Messages int           // after so many, 0: any number
	Time     time.Duration // with the first message so long after it stood, 0: any time
}

// String is what ParseChurn reads.
func (c Churn) String() string {
	if c.Time > 0 {
		return timeText(c.Time)
	}
	return strconv.Itoa(c.Messages)
}

// ParseChurn reads a number of messages or a time. 0 is the zero Churn.
func ParseChurn(text string) (Churn, error) {
	if n, err := strconv.Atoi(text); err == nil && n >= 0 {
		return Churn{Messages: n}, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return Churn{}, fmt.Errorf("want a number of messages or a time, such as 100 or 5s")
	}
	return Churn{Time: d}, nil
}

func (c Churn) none() bool { return c == Churn{} }

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
	case len(w.Kinds) == 0 && w.Size.problem() != "":
		return &OptionError{"size", w.Size, w.Size.problem()}
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
	case w.Frame.problem():
		return &OptionError{"frame", w.Frame, wantFrame[len("want "):]}
	}
	if err := w.checkKinds(); err != nil {
		return err
	}
	if want := w.Service.problem(); want != "" {
		return &OptionError{"service", w.Service, want}
	}
	if err := w.checkBounds(); err != nil {
		return err
	}
	return w.checkTimes()
}

// checkBounds is Check for the lengths of payloads.
func (w *Workload) checkBounds() error {
	b := w.bounds()
	name, value := "size", any(w.Size)
	if len(w.Kinds) > 0 {
		name, value = "class", b
	}
	switch {
	case w.works() && b.Min < workBytes+numberBytes:
		return &OptionError{name, value, fmt.Sprintf("at least %d bytes, for service time and number", workBytes+numberBytes)}
	case w.Unordered && b.Min < numberBytes:
		return &OptionError{name, value, fmt.Sprintf("at least %d bytes, for the number that finds a reply out of order", numberBytes)}
	case !w.Frame.holds(b.Max):
		return &OptionError{name, value, fmt.Sprintf("at most what the length field of %v holds", w.Frame)}
	}
	return nil
}

// checkTimes is Check for when messages are sent.
func (w *Workload) checkTimes() error {
	steady := w.Profile == Profile{}
	switch {
	case w.Profile.problem() != "":
		return &OptionError{"profile", w.Profile, w.Profile.problem()}
	case !steady && w.Rate == 0:
		return &OptionError{"profile", w.Profile, "steady, unless there is a rate"}
	case w.Replay != nil && (w.Rate > 0 || !steady || w.Arrival != Fixed):
		return &OptionError{"replay", w.Replay.Name, "no rate, arrival or profile besides, for the schedule has them"}
	case w.Batch < 0 || w.Batch > MaxDepth:
		return &OptionError{"batch", w.Batch, fmt.Sprintf("1 to %d", MaxDepth)}
	case w.Batch > 1 && w.Replay != nil:
		return &OptionError{"batch", w.Batch, "1 with a schedule that is replayed"}
	case !w.Open() && w.Batch > w.Depth:
		return &OptionError{"batch", w.Batch, fmt.Sprintf("at most the depth, %d", w.Depth)}
	case w.Think.problem() != "":
		return &OptionError{"think", w.Think, w.Think.problem()}
	case w.Open() && !w.Think.None():
		return &OptionError{"think", w.Think, "0 in an open loop, which waits for nobody"}
	case w.Churn.Messages < 0 || w.Churn.Time < 0:
		return &OptionError{"churn", w.Churn, "a number of messages or a time"}
	}
	return nil
}

// batch is Batch, 1 at least.
func (w *Workload) batch() int { return max(1, w.Batch) }

// Open reports whether messages are sent at given times, whatever the replies.
func (w *Workload) Open() bool { return w.Rate > 0 || w.Replay != nil }

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

// connsOf returns how many connections a thread has: connection j is thread
// j modulo threads' own.
func (w *Workload) connsOf(thread, threads int) int {
	return (w.Conns - thread + threads - 1) / threads
}
