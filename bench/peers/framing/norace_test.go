//go:build !race

package framing

const race = false
