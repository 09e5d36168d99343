package backend

import "time"

// epoch is the zero of Now.
var epoch = time.Now()

// Now is the clock of the back ends that have no time of their own: the same for all
// loops of a process, so that their times compare.
func Now() time.Duration { return time.Since(epoch) }
