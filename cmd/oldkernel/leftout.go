package main

import (
	"slices"
	"strings"
)

// leftOut are the tests that the virtual machine cannot do justice to.
var leftOut = []struct{ pkg, test, why string }{
	{"ring/internal/uring", "TestSignalStorm", "with one processor signals seldom find the loop asleep for 50 µs, and the test waits until they have"},
	{"mux", "TestPeersThatNeverReadTheirReplies", "peers fill their streams with small writes within 20 s, which take this processor between 1 and 20"},
	{"mux", "TestSocketActivation", "it starts /bin/sh, and the machine has no programs"},
}

// skipPattern returns the value of -test.skip for the package, "" if nothing of it is left out.
func skipPattern(pkg string) string {
	var names []string
	for _, l := range leftOut {
		if l.pkg == pkg {
			names = append(names, "^"+l.test+"$")
		}
	}
	slices.Sort(names)
	return strings.Join(names, "|")
}
