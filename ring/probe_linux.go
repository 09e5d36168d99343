package ring

import "github.com/kcm-go/kcm/ring/internal/uring"

// Probe reports what io_uring offers here, by trying each thing. It takes some
// milliseconds and leaves nothing behind.
func Probe() []Feature {
	var out []Feature
	for _, f := range uring.Probe() {
		out = append(out, Feature{Name: f.Name, Since: f.Since, Need: f.Need, State: f.State.String(), Why: f.Why})
	}
	return out
}

// Explain says in one line why an error of New with Backend URing came about and
// what would allow io_uring.
func Explain(err error) string { return uring.Explain(err) }
