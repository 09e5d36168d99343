//go:build !linux

package main

import "time"

// processCPU is not known: package ring runs on Linux only.
func processCPU() time.Duration { return 0 }
