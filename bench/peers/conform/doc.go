// Package conform tests that a server speaks len32 (see package echo), seen
// from the outside: it knows an address and package net, nothing of the engine
// behind it. A server that passes may be compared with others; one that loses,
// splits, swaps or invents a frame may not.
//
//	conform.Test(t, s.Addr().String(), conform.Allow{})
//
// [Allow] names what an engine may be excused from, because it follows from its
// design.
package conform
