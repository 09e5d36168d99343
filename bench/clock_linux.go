package bench

import "golang.org/x/sys/unix"

// timeError is the state of a clock that nothing keeps right (adjtimex(2), TIME_ERROR).
const timeError = 5

// readClock asks the system about its clock, which needs no privilege.
func readClock() *Clock {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return nil
	}
	return &Clock{Synchronised: state != timeError, MaxError: float64(t.Maxerror), Estimate: float64(t.Esterror)}
}
