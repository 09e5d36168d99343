// Package leak ends a package's tests with a look at what they left behind. A
// TestMain calls Main:
//
//	func TestMain(m *testing.M) { leak.Main(m) }
//
// Goroutines and descriptors are looked at here; memory of loops is counted by the
// tests that made them.
package leak
