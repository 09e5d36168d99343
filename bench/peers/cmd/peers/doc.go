// Peers compares kcm with other echo servers: CPU time per message and
// messages per second, over loopback, one core for the server and one for the
// generator.
//
//	go run ./cmd/peers                       # all servers, 15 rounds, about 20 minutes
//	go run ./cmd/peers -pairs 6 -servers kcm-uring,net,c-epoll -config 64x16x64
//
// The way of one number:
//
//	build -> pick a round's order -> start server, pinned -> read its CPU time
//	      -> run the generator, pinned -> read its CPU time -> stop server
//	      -> sample -> median, paired ratios -> table
//
// In a round every server runs once, in a process of its own; the order rotates
// from round to round, so that drift of the machine meets all servers alike.
// Servers are compared by the ratio within each round, and the table gives the
// median of these ratios with bounds that need no assumption about the noise
// (package stats).
//
// CPU time is the scheduler's account of the server's threads over the whole
// life of the generator, divided by all messages the generator exchanged in
// that time, warm-up included. So it has the cost of accepting connections in
// it, and of an idle engine, but no start-up. It is what the kernel charges to
// the server; what the network stack does on the generator's account is in
// nobody's number.
//
// Every child is ended by its own process id, also when the program is
// interrupted, and no step waits without a limit.
package main
