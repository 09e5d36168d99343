// Peers compares kcm with other echo servers: CPU time per message and
// messages per second, over loopback, one core for the server and one for the
// generator.
//
//	go run ./cmd/peers                       # all parts, 15 rounds, half an hour
//	go run ./cmd/peers -only small,lone      # two of them
//	go run ./cmd/peers -pairs 6 -servers kcm-uring,net,c-epoll -config 64x16x64
//
// Package rig starts servers and generator, counts CPU time, and says what that
// count has in it. Here are the contestants (server.go), the parts of the comparison with their
// loads (section.go), what the figures should be (target.go), and the tables (report.go).
//
// In a round every server runs once, in a process of its own; the order rotates
// from round to round, so that drift of the machine meets all servers alike.
// Servers are compared by the ratio within each round, and the table gives the
// median of these ratios with bounds that need no assumption about the noise
// (package stats).
//
// Every child is ended by its own process id, also when the program is
// interrupted, and no step waits without a limit.
package main
