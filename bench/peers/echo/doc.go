// Package echo is one echo server written on several network engines, so that
// what differs between two measurements is the engine and nothing else.
//
// All servers speak len32: a frame is a 4-byte big-endian payload length and
// then the payload; the server answers every frame with the same frame, and
// only once it has all of it. A payload may be [MaxMessage] bytes long; a
// longer one closes the connection. Bytes after the last whole frame are
// dropped when the peer ends its stream.
//
// The way of the data is the same everywhere, as far as the engine lets it be:
//
//	socket -> one buffer per connection -> whole frames -> one write
//
// A batch of frames found by one read leaves in one write ([whole] finds where
// the batch ends). The exception is netchan, which hands every frame to a
// worker on purpose, and the three engines of [Dispatchers], which are there
// for how they do that:
//
//	netgo     socket -> frame -> a goroutine, some of which may work -> write
//	netpool   socket -> frame -> one channel -> the worker that is free -> write
//	netshard  socket -> frame -> the channel of the connection's worker -> write
//
// Their frames can carry the time that a worker is to spend on them, and they
// answer in the order in which workers finish.
//
//	s, err := echo.Listen("net", "127.0.0.1:0", echo.Options{})
//	if err != nil { ... }
//	fmt.Println(s.Addr())
//	...
//	s.Close()
//
// The package measures nothing and promises no more of its engines than the
// conformance tests ask. Options of an engine are its defaults unless a
// comment says what was changed and why.
package echo
