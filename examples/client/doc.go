// Client sends each line of its input as a request to one of several equal servers, and
// prints the replies in the order of the lines. M callers share N connections.
//
//	go run ./examples/echo -listen 127.0.0.1:7000 &
//	go run ./examples/echo -listen 127.0.0.1:7001 &
//	seq 100000 | go run ./examples/client -servers 127.0.0.1:7000,127.0.0.1:7001 | tail -3
//
// The way of a line:
//
//	input -> caller -> Client -> socket -> whichever connection is free -> server
//	                     ^                                                   |
//	output <- caller <---+--------- loop <-- parser <-- the connection <-----+
//
// A request is a 4-byte length, a 4-byte number and the line; a reply has the number of its
// request. The program writes no numbers and chooses no connection: Client does the one, the
// Mux's sockets the other, and Pool makes again what fails. So replies may come in any
// order, a slow request holds up no other caller's, and a server may be stopped and started
// while this runs:
//
//	seq 1000000000 | go run ./examples/client -servers 127.0.0.1:7000,127.0.0.1:7001 > /dev/null
//
// A line whose connection dies before its reply is sent again, since it does no harm twice.
// With -once it is not, and the output has the error in its place; so it has when there is
// no reply in time.
//
// At the end of the input, or on SIGINT or SIGTERM, the connections' health and what was
// done is printed to standard error. The status is 1 if a line had no reply.
package main
