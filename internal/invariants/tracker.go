//go:build invariants

package invariants

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Tracker remembers, for every outstanding reference, the stack that took it. In a
// build that checks invariants it can name whoever leaked one; in every other build
// it is an empty struct whose methods do nothing. The zero Tracker is ready. Keys
// are chosen by the user, a buffer's index for example; one key may be held many
// times. It may be used by many goroutines and is not copied.
type Tracker struct {
	mu   sync.Mutex
	held map[uint64][]stack
}

type stack struct {
	pcs [16]uintptr
	n   int
}

// Acquire records that the caller has taken a reference to key.
func (t *Tracker) Acquire(key uint64) {
	var s stack
	s.n = runtime.Callers(2, s.pcs[:])
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held == nil {
		t.held = make(map[uint64][]stack)
	}
	t.held[key] = append(t.held[key], s)
}

// Release forgets the newest reference to key. It panics if there is none: a
// reference was given back twice.
func (t *Tracker) Release(key uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.held[key]
	if len(s) == 0 {
		fail(fmt.Sprintf("release of %d, which is not held", key))
	}
	if len(s) == 1 {
		delete(t.held, key)
		return
	}
	t.held[key] = s[:len(s)-1]
}

// Held returns how many references are outstanding.
func (t *Tracker) Held() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, s := range t.held {
		n += len(s)
	}
	return n
}

// WriteLeaks writes every outstanding reference with the stack that took it, in the
// order of the keys, and returns their number. Which of a key's stacks is left after
// an uneven Release is a guess: the newest are forgotten first.
func (t *Tracker) WriteLeaks(w io.Writer) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := make([]uint64, 0, len(t.held))
	for k := range t.held {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	n := 0
	for _, k := range keys {
		for _, s := range t.held[k] {
			n++
			fmt.Fprintf(w, "leaked reference to %d, taken at\n%s", k, s.String())
		}
	}
	return n
}

func (s *stack) String() string {
	var b strings.Builder
	frames := runtime.CallersFrames(s.pcs[:s.n])
	for {
		f, more := frames.Next()
		fmt.Fprintf(&b, "\t%s\n\t\t%s:%d\n", f.Function, f.File, f.Line)
		if !more {
			return b.String()
		}
	}
}
