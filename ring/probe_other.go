//go:build !linux

package ring

// Probe reports nothing: there is no io_uring on this system.
func Probe() []Feature { return nil }

// Explain returns the error's text.
func Explain(err error) string { return err.Error() }
