//go:build !linux

package bench

import "runtime"

func kernel() string { return runtime.GOOS + " " + runtime.GOARCH }
