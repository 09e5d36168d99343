package watch

import (
	"bytes"
	"fmt"
	"io"
	"runtime/pprof"
	"strings"
)

// Stacks writes where the goroutines are whose labels include label with the value name,
// and the label with, if that is not "": labels and functions, goroutines in the same place
// together, each line after indent. The program stands still for some microseconds for each
// of its goroutines.
func Stacks(w io.Writer, indent, label, name, with string) error {
	var all, out bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 1); err != nil {
		return err
	}
	pair, other := fmt.Sprintf("%q:%q", label, name), fmt.Sprintf("%q:", with)
	for group := range strings.SplitSeq(all.String(), "\n\n") {
		lines := strings.Split(strings.TrimRight(group, "\n"), "\n")
		labels := ""
		for i, l := range lines {
			if s, ok := strings.CutPrefix(l, "# labels: "); ok {
				labels, lines = s, lines[i+1:]
				break
			}
		}
		if !strings.Contains(labels, pair) || with != "" && !strings.Contains(labels, other) {
			continue
		}
		fmt.Fprintf(&out, "%sgoroutine %s\n", indent, labels)
		for _, l := range lines {
			f := strings.Fields(strings.TrimPrefix(l, "#")) // address, function, file and line
			if len(f) >= 3 {
				fmt.Fprintf(&out, "%s  %s %s\n", indent, f[1], f[2])
			}
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}
