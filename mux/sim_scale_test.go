//go:build !stress

package mux

const simSeedsDefault = 200
