// Package backend is the contract between a loop and the thing below it that
// moves bytes: io_uring, epoll, or the simulator. The loop knows nothing else
// of the system.
//
// The model is completion based. The loop queues operations, each under a [Key]
// of its own choice; [Backend.Wait] submits what is queued, waits, and returns
// events. Every operation ends with exactly one final event (More false);
// multishot operations may have any number of events with More true before it.
// That is all a loop relies on, so a backend may be faster or slower, may merge
// or split received bytes, and may complete operations in any order that
// [Backend] allows. The one exception is Write, with which any goroutine sends at
// once; it shares nothing with the rest but the socket.
//
// The contract is written down once, here, and tested once, by package
// contract, on every backend.
package backend
