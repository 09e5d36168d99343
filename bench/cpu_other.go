//go:build !linux

package bench

import "time"

func threadCPU() time.Duration { return 0 }

func preciseTimers() {}

func threadWait() time.Duration { return 0 }
