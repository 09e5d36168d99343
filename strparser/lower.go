package strparser

import (
	"time"

	"github.com/kcm-go/kcm/sgmsg"
)

// Lower is the byte stream below a parser in receive-callback mode: a buffer of
// unread chunks, one timer, and a thread of its own.
//
// All methods except Kick are called by the parser on the lower's thread, inside
// a call the lower (or its owner, on that thread) made into the parser. None may
// block, and none may call back into the parser.
type Lower interface {
	// Readable returns the number of unread bytes held now, the chunk being
	// processed included: what the kernel calls the peek length.
	Readable() int

	// Peek lends the first unread chunk, or the unread rest of it. ok is false
	// when there is none; an element that is returned is not empty. The lower
	// keeps its reference to the buffer at least until Consume; a buffer it may
	// still write to, it holds a reference to as long as it may.
	Peek() (chunk sgmsg.Element, ok bool)

	// Consume drops the first n bytes, 0 < n <= the length of the chunk last
	// peeked, and the chunk with its reference when nothing of it is left.
	Consume(n int)

	// Want says that a message in progress needs n bytes more, and nothing less
	// will be looked at; 0 takes that back. It is a hint: the lower may use it
	// to suppress wake-ups, and to read n bytes into one contiguous buffer.
	Want(n int)

	// Full reports that the lower cannot receive more before something of what
	// it holds is consumed. The parser then takes what is there even if it is
	// less than it wanted. A lower without a buffer of its own always says true.
	Full() bool

	// Post makes err the pending error of the lower, for its owner to see. It
	// is called at most once per parser; err is an *AbortError.
	Post(err error)

	// Kick asks the lower to call Parser.Check soon, on its own thread and not
	// from within Kick. Requests made before that call collapse into one. It may
	// be called from any goroutine, also after the lower has gone (and then does
	// nothing). After ENOMEM the parser kicks again from every failing Check: the
	// lower may put that off until memory was released.
	Kick()

	// StartTimer arms the one timer of the parser: Parser.Expire(gen) is to be
	// called after d, on the lower's thread. A timer still armed is replaced.
	// StopTimer disarms it; an Expire already on its way is tolerated.
	StartTimer(d time.Duration, gen uint32)
	StopTimer()

	// Alloc returns private memory for bytes that are copied out of a chunk
	// because they must wait. The error wraps ENOMEM.
	sgmsg.Allocator
}
