// Package contract tests that a backend keeps the contract written down in
// package backend. There is one suite, and every backend runs it:
//
//	func TestContract(t *testing.T) {
//		contract.Run(t, contract.Sockets(func(cfg backend.Config) (backend.Backend, error) {
//			return epoll.New(cfg)
//		}))
//	}
//
// The [Harness] is what differs between backends: how one is made, and where
// the far ends of its connections come from. [Sockets] is the harness of the
// backends that work on real descriptors; the simulator brings its own.
//
// # How a test runs
//
// Each test drives a bed: the backend, the pool under it, and a book that knows
// every operation in flight and where every buffer is. The test queues
// operations, moves the far ends, and calls turn or until; each event that comes
// out is first held against the book, so that every test checks, besides what it
// is about:
//
//   - the event belongs to an operation in flight, and is its last exactly once;
//   - its result is one that the operation may have;
//   - its buffer had been provided, is given out once, and carries exactly one
//     reference;
//   - cancelled operations end, uncancelled ones do not end with ECANCELED;
//   - when the test is over nothing more comes, and after Close no buffer is
//     held by anyone.
//
// The bed appends the bytes of Recv and Read to one log per descriptor in the
// order of the events, which is what the contract calls the stream; tests compare
// that log with what the far end wrote, never single events, since a backend may
// split and merge as it likes.
//
// Everything runs on the test's goroutine, far ends included. A far end's Write
// takes what fits and never blocks, and its Read is asked only for what is known
// to be on its way, so that the suite works the same in virtual and in real
// time.
package contract
