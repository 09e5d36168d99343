package uring

import "fmt"

// State is the answer of a probe.
type State uint8

const (
	Unknown State = iota // it could not be tried; Why says what was in the way
	No                   // the kernel refused it; Why is its answer
	Yes
)

func (s State) String() string { return [...]string{"unknown", "no", "yes"}[s] }

// Feature is one thing an io_uring of a kernel may offer.
type Feature struct {
	Name  string // the kernel's word for it, or a description
	Since string // first version of mainline Linux that has it
	Need  bool   // New refuses without it
	State State
	Why   string // reason of No and Unknown, one line
}

func (f Feature) String() string {
	s := fmt.Sprintf("%-22s %-8s %s", f.Name, f.Since, f.State)
	if f.Why != "" {
		s += ": " + f.Why
	}
	return s
}

// Probe reports what io_uring offers on this system, by trying each thing. It takes
// some milliseconds and leaves nothing behind. Nothing is cached: permissions and
// limits change while a program runs.
func Probe() []Feature { return probe() }
