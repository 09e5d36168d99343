//go:build linux && stress

package mux_test

// The full sizes of the tests in stress_test.go, for make stress.
const (
	stressing        = true
	echoConns        = 64
	echoMessages     = 200
	manyConns        = 1000
	churnConns       = 2000
	idleConns        = 8000
	randomOps        = 1_000_000 // on each back end
	phaseRounds      = 7
	conserveMessages = 1_000_000 // in each of 14 ways of dispatching
)
