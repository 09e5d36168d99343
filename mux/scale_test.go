//go:build linux && !stress

package mux_test

// The quick sizes of the tests in stress_test.go.
const (
	stressing        = false
	echoConns        = 16
	echoMessages     = 40
	manyConns        = 200
	churnConns       = 200
	idleConns        = 500
	randomOps        = 20_000 // on each back end
	phaseRounds      = 1
	conserveMessages = 7_200 // in each of 14 ways of dispatching
)
