// Package ring runs event loops: each is one goroutine on one thread that owns an
// io_uring (or an epoll descriptor), the memory its connections receive into, and
// the connections themselves. Above it everything happens on that one thread, so
// nothing above it takes a lock per message.
//
// # One turn
//
// [Loop.Turn] is the whole loop; everything else is called by it. In order:
//
//	1 inbox     tasks that other goroutines posted, oldest first
//	2 buffers   those released since the last turn go back to the back end;
//	            streams that had to wait for one receive again
//	3 timers    those that are due
//	4 sends     one vectored send for each stream with something new to send,
//	            and all that datagram endpoints have queued
//	5 wait      one call into the back end: it submits all of the above, and
//	            sleeps if there is nothing else to do
//	6 events    each completion goes to its endpoint: a chunk is appended to the
//	            stream's unread bytes, an end is noted
//	7 delivery  DataReady once for each stream with news, however many chunks
//	            came, until TurnBytes are handled
//
// On io_uring step 5 is one system call, or none. A reply made in step 7 leaves in
// step 4 of the next turn, together with all other replies of its connection.
//
//	kernel -> receive buffer -> unread chunks -> Handler -> Send -> out queue -> kernel
//
// Other goroutines send with [Stream.Push]. When nothing waits to be sent it writes to
// the socket itself, without the loop; else it leaves the message in a box, whose
// content joins the out queue in step 1 of the next turn. [Stream.PushTicket] tells besides
// when the kernel has accepted the message.
//
//	goroutine -> Push -+-> kernel
//	                   +-> box -> out queue -> kernel
//
// # Use
//
// An echo of bytes. Its peers had better read: it does not look at
// [Stream.Overdrawn], so one that does not is ended at Options.SendHard.
//
//	type echo struct{}
//
//	func (echo) DataReady(s *ring.Stream) (holds bool) {
//		for chunk, ok := s.Peek(); ok; chunk, ok = s.Peek() {
//			var m sgmsg.Message
//			m.AppendShared(chunk) // a reference, not a copy
//			if s.Send(&m) != nil {
//				m.Release()
//				return false
//			}
//			s.Consume(int(chunk.Len))
//		}
//		return false
//	}
//
//	func (echo) StateChange(s *ring.Stream, err error) {
//		if err != nil {
//			s.Close(err)
//			return
//		}
//		s.Drain(nil) // the peer has finished: send the rest, then close
//	}
//
//	func (echo) Opened(*ring.Stream)                        {}
//	func (echo) Check(*ring.Stream)                         {}
//	func (echo) Evict(*ring.Stream, *sgmsg.Arena)           {}
//	func (echo) Expired(*ring.Stream, uint32)               {}
//	func (echo) Closed(*ring.Stream, error, *sgmsg.Message) {}
//
//	l, err := ring.New(ring.Options{})
//	...
//	err = l.Start()
//	...
//	err = l.Do(func() { _, attachErr = l.Attach(fd, echo{}) })
//
// Package mux does this with messages in place of bytes, and is what programs
// normally use.
//
// # Datagrams
//
// [Loop.ListenPacket], [Loop.DialPacket] and [Loop.AttachPacket] make a [Packet] of a
// datagram socket, UDP or unix. In step 7, behind the streams, its handler gets what the
// turn brought, each datagram as a message lent out of a receive buffer; what it queues with
// [Packet.Send] leaves in step 4, all of it with one system call if it can be.
//
//	func (echo) Datagrams(p *ring.Packet, d []ring.Datagram) {
//		for i := range d {
//			back := d[i].Back()
//			_ = p.Send(&d[i].Msg, &back) // refused: the message is still lent, and dropped
//		}
//	}
//
// # Threads
//
// A loop's goroutine is locked to its thread and dies with it; with Options.Pin the
// thread keeps to one CPU. [Loop.Post] is the one door for other goroutines. What may
// be called from anywhere goes through it, as Do, Stats, Close and Stream.Kick do, or
// touches nothing of the loop's: Wake, OnThread, Now, Alloc, Unpin, Done, and what never
// changes (Options, Backend, Notes, Stream.RemoteAddr). The one thing that is shared is
// a stream's write side, for [Stream.Push]: loop and goroutines hand it to each other
// with one atomic word, and a loop waits for no goroutine. (Push itself takes a mutex that
// is never held across a system call, on a loop's thread too; Send takes none.) All other
// methods of Loop, Stream,
// Packet, Listener and Timer belong to the loop's thread. Do and Close, which wait for the
// loop, return EDEADLK there, as they could never return otherwise.
//
// # Memory
//
// A loop has three memories, all of them outside the Go heap, none of which borrows
// from another:
//
//   - receive buffers (Buffers x BufferSize), lent to the kernel, which takes one
//     when bytes have arrived and not before;
//   - the large region (RegionBytes): when a parser says through [Stream.Want] that
//     much of a message is still to come, the rest is read straight into one
//     contiguous piece of it;
//   - private memory (SpillBytes): replies, and bytes that were copied because they
//     must wait.
//
// So a full receive pool cannot keep the replies from being built that would empty
// it. Buffers are counted references ([sgmsg.Element]); a message may outlive its
// connection and its loop, and its memory stays until it is released.
//
// # Pressure
//
// Nothing that arrived is dropped to make room; the peer that causes the pressure is
// made to wait.
//
//   - A stream with more than Credit bytes unread stops receiving, until they are
//     consumed; the peer's window closes.
//   - A stream whose out queue is over SendSoft is [Stream.Overdrawn]: those who fill
//     it should register a [Waiter] and stop; for other goroutines it is
//     [Stream.Crowded]. At SendHard, what Push has left for the loop included, or
//     when the peer takes nothing for SendTimeout, the connection is ended (ENOBUFS,
//     ETIMEDOUT).
//   - When fewer than a quarter of the receive buffers are free, bytes that wait in
//     them, unread or unsent, are copied to private memory. When that is full as
//     well, the stream that has been stuck for longest is ended.
//   - A stream that finds no buffer waits in line for the next one released.
//
// # Back ends
//
// What is below a loop meets one contract, in internal/backend: operations are
// queued under a key, and each ends with exactly one final event; only Push's Write is
// none. io_uring (Linux 6.1 and newer) and epoll implement it on real sockets, package ringtest in
// simulation, with virtual time and faults from a seed; one suite of tests runs on
// all three. [Auto] tries io_uring, and when that is refused runs on epoll and says
// in [Loop.Notes] why and what would allow it. On other systems than Linux the
// package compiles and New fails with [ErrNotSupported].
//
// # What the package does not do
//
// It knows no messages: framing is package strparser's. It uses no kernel thread that
// polls (SQPOLL) and no zero-copy send. It does not balance connections between loops:
// each stays on the loop it was attached to.
package ring
