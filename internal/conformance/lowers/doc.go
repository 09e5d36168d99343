// Package lowers has the connections of conformance scripts for any engine: real TCP over
// loopback, and what is refused as a lower.
//
// A [Conn] has two ends: the lower, which gets attached, and the peer. Actions on ends that
// nothing is attached to are plain system calls, the same for every engine; what they share is
// that a write goes on by itself when there is room for it. Engines say what it means that all has
// settled.
package lowers
