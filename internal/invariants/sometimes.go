package invariants

import (
	"os"
	"strconv"
	"sync/atomic"
)

// SeedEnv is the environment variable that seeds Sometimes, a decimal number. It
// is 1 when unset.
const SeedEnv = "KCM_INVARIANTS_SEED"

// chooser counts the questions asked of Sometimes. The answer to question k depends
// on the seed and k alone, so a run with one goroutine repeats exactly.
var chooser atomic.Uint64

func init() {
	if !Enabled {
		return
	}
	seed, err := strconv.ParseUint(os.Getenv(SeedEnv), 10, 64)
	if err != nil {
		seed = 1
	}
	Seed(seed)
}

// Seed restarts the sequence of Sometimes. Tests that need a certain sequence call
// it first.
func Seed(seed uint64) {
	if Enabled {
		chooser.Store(mix(seed))
	}
}

// Sometimes is true about once in n calls in a build that checks invariants, and
// constant false in every other. It sends a test down a slow path that is correct
// but rare. n of 1 is always true then; n below 1 panics.
func Sometimes(n int) bool {
	return Enabled && pick(n)
}

func pick(n int) bool {
	if n < 1 {
		panic("invariants: Sometimes needs n of at least 1")
	}
	return mix(chooser.Add(1))%uint64(n) == 0
}

// mix spreads x over 64 bits: the finalizer of SplitMix64 (Steele, Lea, Flood, "Fast
// splittable pseudorandom number generators", 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
