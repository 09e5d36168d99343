// Package strparser turns a byte stream into messages. It is the stream parser
// of Linux (net/strparser) as a library: the words are the same, and where Linux
// is known to stall, to count twice or to forget, this package does not.
//
// It is pure: no clock, no goroutine, no descriptor. Chunks and expiries come in
// as calls, messages go out as calls.
//
// # The way of the data
//
//	Lower            unread chunks of one connection
//	  |  Peek        a chunk, lent
//	  v
//	Parser           Format.Parse looks at a View and says how long the message is;
//	  |              bytes of incomplete messages are kept in hand
//	  |  Consume     when all messages of the chunk are delivered
//	  v
//	Options.Message  one message, lent until it returns
//
// A chunk that holds whole messages is cut up where it lies: no byte is copied
// and no reference count moves. The end of a chunk that is the beginning of a
// message is kept until the rest comes: up to 16 bytes in the parser itself, more
// by a reference to the chunk, or, when that would pin a buffer that is mostly
// empty, as a copy in private memory.
//
// # Two modes
//
// In receive-callback mode there is a [Lower], such as a stream of package ring.
// It calls DataReady when bytes arrived, Check after a Kick, and Expire when the
// timer it was given runs out, all on its own thread:
//
//	pr, err := strparser.NewProfile(strparser.Options{
//		Format:  strparser.Length32,
//		Message: func(p *strparser.Parser, m *sgmsg.Message) { ... },
//	})
//	...
//	var conn struct{ parser strparser.Parser } // inside the connection
//	err = pr.Init(&conn.parser, stream, &conn)
//	conn.parser.CheckRcv() // for bytes that are there already
//
// Once the length of a message is known and the lower does not hold all of it,
// the parser leaves the bytes where they are until it does: the lower's buffer is
// bounded and closes the peer's window, and the parser does not run for each
// segment. If the lower can hold no more, what is there is taken.
//
// In general mode there is none: the caller pushes chunks with Process and feeds
// again what was not consumed.
//
// # Stopping and pausing
//
// Pause keeps everything on the lower, which is how pressure reaches the peer;
// Unpause asks for a check. A parse error, a message too long or too late, and
// the end of the stream inside a message end the parser with an [AbortError],
// which is posted on the lower. The order at the end is Stop, then Done.
//
// # What the package does not do
//
// It does not read, write or close anything, and it does not queue messages: who
// cannot take one more pauses the parser inside the callback. It never resumes
// after an error: after a recoverable one, the owner puts a new parser on the
// lower.
//
// Source of the rules: the behaviour of Linux 6.12, and Documentation/networking/
// strparser.rst of the kernel.
package strparser
