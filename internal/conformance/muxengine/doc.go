// Package muxengine is the engine that runs conformance scripts on package mux, over real
// TCP connections and one loop.
//
// A multiplexor is a [mux.Mux] with the policy FIFO and no limit of flows, which is what the
// kernel does; a socket of a script is a [mux.Socket], and an attached conn a [mux.Psock].
// What an engine cannot ask of package mux it calls "not supported"; it makes up for nothing
// that is different.
//
// # Options
//
// The kernel reads its limits from options of sockets, package mux from the options that things
// are made with. A Mux and its sockets are therefore made by the first action that needs them,
// with the options set until then:
//
//	conn rcvtimeo    Options.AssemblyTimeout
//	conn rcvbuf      Options.MaxMessage, twice the value as in the kernel
//	parser           Options.Format
//	socket rcvbuf    SocketOptions.RecvBytes, likewise
//	socket rcvlowat  SocketOptions.LowWater
//	socket disable   SocketOptions.RecvDisabled
//	socket sndbuf    SocketOptions.SendBytes, likewise
//
// Setting them later, or attaching a conn that needs others, is not supported. Time-outs of
// sockets become contexts.
//
// # Descriptors
//
// An attached descriptor is the Mux's. The engine keeps a duplicate, to see when TCP has
// come to rest, and closes it when the connection has ended. The script's own close of an attached
// conn is the close of a duplicate, and so is nothing to the Mux; conn error is what
// ended the connection, taken once.
//
// # Settled
//
// After each action the engine waits until nothing is under way: what one end of each
// connection has sent the other has received, unless that is full; no end that was shut
// down waits for its close; who waits in a call sleeps; and the loop, asked to take turns, finds
// nothing that changes any of it. No time is part of that.
package muxengine
