//go:build !race

package invariants

// Race reports whether this build has the race detector (-race).
const Race = false
