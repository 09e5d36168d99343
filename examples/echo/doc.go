// Echo is the smallest server on package mux: it sends every message back to the
// connection it came from.
//
//	go run ./examples/echo -listen 127.0.0.1:7000
//	printf '\0\0\0\5hello' | nc -N 127.0.0.1 7000 | xxd
//
// The way of a message:
//
//	connection -> loop -> parser -> handler -> out queue of the same connection
//
// A message is a 4-byte big-endian length and so many bytes. The handler moves the
// message it was lent into the out queue, so its bytes stay in the buffer they were
// received into until the kernel has taken them.
//
// On SIGINT or SIGTERM the server stops accepting, sends what is queued, closes its
// connections and ends with status 0. A second signal ends it at once.
package main
