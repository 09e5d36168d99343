//go:build !unix

package main

import "errors"

func cpuMicros() (user, sys int64, err error) { return 0, 0, errors.ErrUnsupported }
