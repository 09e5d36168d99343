// Package sgmsg is memory and messages: buffers with reference counts, and lists
// of byte ranges in them. It knows neither network nor kernel.
//
// The way of the data:
//
//	Arena           one memory, divided into blocks; a buffer is a run of them
//	  |  Alloc, or Adopt of a block that was filled by somebody else
//	BufID           names the buffer; Retain and Release count its references
//	  |
//	Element         a range of a buffer: id, offset, length
//	  |  Append, AppendShared, Lend, AppendCopy
//	Message         an ordered list of elements
//	  |  Segments, CopyTo, Head; MoveTo, Clone, Trim, TrimFront; Reader
//	out
//
// No byte is copied on the way, unless AppendCopy, Compact or Prepend say so, or a
// message is built (below). A buffer goes back to its arena when the last reference
// is released, on whatever goroutine that is; nothing is left to the garbage
// collector, and elements hold no pointers for it to look at.
//
// # Who owns
//
// The verb says it. Bytes, Head, Segments: lent, valid as long as the message or
// the reference is, and not to be written. Retain and Release: counted. Append:
// the reference moves into the message. AppendShared, Clone: the message takes
// one of its own. MoveTo, Take: everything moves and the source is gone; to use
// a gone message panics, in every build.
//
// A message is delivered lent. The parser lends it one element per chunk without
// touching the count; the chunk's own reference carries the message until the
// callback returns, and what the callback moved away gets a reference then:
//
//	m.Lend(e)      // no reference
//	handler(m)     // looks, or: m.MoveTo(&queue), which takes one reference
//	m.Reclaim()    // whatever is left is given back
//
// [Message.Relend] is both steps between two messages of a chunk, and cheaper.
//
// Neighbours in one buffer coalesce, so that sixteen messages of one chunk moved
// to one queue are one element with one reference.
//
// # What is received is shared
//
// Several messages lie in one chunk, so nobody may write into received bytes.
// What a message writes (AppendCopy, Prepend) it writes into memory from an
// [Allocator], or into the free room of a buffer that came from Alloc and to
// which it holds the only reference. [Message.Pull] makes bytes writable, by a
// private copy where they are shared.
//
// # Messages that are built
//
// The operations of the kernel's sk_msg work on a message that is bound to an
// [Account], which gives memory, limits the number of elements and is charged:
//
//	acct := &sgmsg.Account{Memory: arena}
//	var m sgmsg.Message
//	m.Bind(acct)
//	err := m.Alloc(1000, 0)                   // room
//	n, err := m.MemCopyFrom(iter, 1000)       // filled
//	window, err := m.Pull(0, 16)              // a look, and a change in place
//	err = m.Push(16, 8)                       // 8 zero bytes inserted
//	err = m.Pop(100, 50)                      // 50 removed
//	err = m.MoveFront(&out, 500)              // handed on, no longer charged
//
// docs/sgmsg.md states what each does, by number, beside the kernel's name for it.
//
// # What the package does not do
//
// Unless a message is bound it limits nothing: what a queue may hold and what a peer
// may pin is decided above. It does no I/O, and it never blocks.
package sgmsg
