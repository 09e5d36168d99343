//go:build !linux

package bench

func limits() []Limit { return nil }
