// Thrift is a server of Apache Thrift on package mux, framed by the program that the
// kernel's document of KCM has for it, and a client that is the Thrift project's own
// library. It is a module of its own, so that this library is nobody's dependency:
//
//	cd examples/thrift
//	go run .
//
// serves on loopback, has some clients call, and prints the sums they got and how many
// calls each worker answered. With -listen host:port it only serves, until SIGINT or
// SIGTERM, and with -connect host:port it only calls.
//
// The way of a call:
//
//	connections -> loops -> program -> queue -> sockets of the workers -> Thrift's decoder
//	(TFramedTransport)                                                          |
//	      out queue of the same connection <- Reply <- Thrift's encoder <- sum <+
//
// The program (program.go) is the example of Documentation/networking/kcm.rst in classic
// BPF: it loads the 4 bytes with the length of a frame, and adds 4 for themselves. It
// trusts the peer like the kernel's: lengths of 2 GiB less 4 and more come out negative,
// which ends the connection, and the last four below 4 GiB come out as 0 to 3 bytes. So
// MaxMessage limits the others, and a worker checks that there is a header before it
// cuts it off.
//
// Each worker receives with a Reader on a message socket of its own. The decoder reads the
// message where it was received (sgmsg.Reader); the reply is copied once, into the memory
// of the connection's loop. Calls of one connection are answered one by one, in order
// (Options.FlowCap is 1), as Thrift's clients expect it. Replies go to the connection of
// the call with Reply: what is sent on a socket leaves on any connection, which is for
// those that lead to one peer.
//
// The service (service.go) is written by hand and has one method, sum. Code that the
// Thrift compiler made is used in the same way: give its processor the two protocols that
// answer makes.
package main
