//go:build !invariants

package invariants

import "io"

// Tracker remembers, for every outstanding reference, the stack that took it. In a
// build that checks invariants it can name whoever leaked one; in this build it is
// an empty struct whose methods do nothing. The zero Tracker is ready. Place it
// first or in the middle of a struct: an empty last field costs a word.
type Tracker struct{}

// Acquire records that the caller has taken a reference to key.
func (*Tracker) Acquire(key uint64) {}

// Release forgets the newest reference to key.
func (*Tracker) Release(key uint64) {}

// Held returns how many references are outstanding, 0 in this build.
func (*Tracker) Held() int { return 0 }

// WriteLeaks writes every outstanding reference, none in this build.
func (*Tracker) WriteLeaks(w io.Writer) int { return 0 }
