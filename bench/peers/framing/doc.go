// Package framing compares ways of cutting a byte stream into messages: what it
// costs to find each message and to hand it to a function, and nothing else. No
// byte passes a socket.
//
// A message is a 4-byte big-endian length and so many bytes of payload. The way of
// the data, for all [Contestants]:
//
//	Source    chunks of 64 KiB; a message lies across each boundary
//	  |       a read: one copy into memory of the contestant, as a kernel makes it
//	  v
//	Cutter    finds the messages
//	  |
//	  v
//	callback  is called through a function value, reads the first and the last byte
//	          of the payload, and adds them up ([Tally])
//
// A [Trial] is one of them at work:
//
//	t, err := framing.Open(contestant, 64, framing.Read)
//	if err != nil { ... }
//	defer t.Close()
//	err = t.Run(100)  // 100 chunks
//	err = t.Check()   // were these the messages?
//
// # What is the same for all
//
// In the set [Read] all are given their bytes by the same copy, from a block that
// lies in the caches. In the set [InPlace] the bytes are in memory already, and
// nothing is copied to put them there:
//
//   - Who is lent memory (gnet, by hand) is lent the block itself.
//   - netpoll links the block to its input, as it does with what is written to it in
//     large pieces.
//   - Who owns the memory that is read into (kcm, bufio) finds the bytes in it. The
//     stream repeats after 64 KiB and every way returns to the same state by then,
//     so a read that says "64 KiB" and writes nothing leaves the buffer as a copy
//     would have. Trial makes it copy until that is so.
//
// What a contestant does per chunk in the course of a receive is in its figure: for
// kcm to take a buffer from the pool, count references, and give it back; for gnet to
// keep the rest of a chunk in a ring buffer; for netpoll to book memory and to
// acknowledge. System calls, wake-ups, and netpoll's hand-over to a goroutine, are
// not.
//
// # What runs
//
// kcm's lower is this package's, with the lists and the reference counts of
// ring.Stream. gnet and netpoll are not rebuilt: a connection of theirs is made over
// a socket pair that nothing is written to, and the two steps of their event loops
// that concern memory are done by hand: what they work on is found in the connection by
// the name of its field. What the handler calls are the methods of their connections.
//
// # What the package does not do
//
// It does not measure what happens with messages later, which is where keeping one
// differs most: kcm keeps it by a reference, all others here by a copy.
package framing
