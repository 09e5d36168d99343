package invariants

import "fmt"

// Check panics with msg if cond is false and the build checks invariants.
func Check(cond bool, msg string) {
	if Enabled && !cond {
		fail(msg)
	}
}

// Checkf is Check with a formatted message. The arguments are boxed before the call
// unless the compiler can see that they go nowhere, which it can when checks are
// off; keep it out of loops all the same.
func Checkf(cond bool, format string, args ...any) {
	if Enabled && !cond {
		fail(fmt.Sprintf(format, args...))
	}
}

// fail is apart so that Check stays small enough to be inlined.
//
//go:noinline
func fail(msg string) { panic("invariant violated: " + msg) }
