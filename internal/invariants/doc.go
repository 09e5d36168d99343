// Package invariants holds the checks that a build with -tags invariants makes and
// every other build leaves out at no cost: Enabled is a constant, so what depends on
// it is removed by the compiler.
//
//	invariants.Check(refs >= 0, "sgmsg: reference count below zero")
//	invariants.Poison(buf) // a late reader sees 0xdb; also with -race
//	if spill || invariants.Sometimes(8) {
//		// the slow path, taken now and then so that tests reach it
//	}
//
// Arguments are evaluated by Go's rules even when the check is off, so they must be
// cheap; wrap a costly one in "if invariants.Enabled". The package never repairs
// anything and no program may depend on it: a check that fails is a bug of ours and
// panics. Errors a caller can cause are returned as errors instead.
package invariants
