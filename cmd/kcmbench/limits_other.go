//go:build !linux

package main

func limits() []limit { return nil }
