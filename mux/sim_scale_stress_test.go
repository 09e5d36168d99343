//go:build linux && stress

package mux

const simSeedsDefault = 10_000
