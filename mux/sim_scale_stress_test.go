//go:build stress

package mux

const simSeedsDefault = 10_000
