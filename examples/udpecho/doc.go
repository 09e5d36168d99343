// Udpecho is the smallest server on datagrams of package ring: it sends every datagram
// back to where it came from, from the address it was sent to.
//
//	go run ./examples/udpecho -listen 127.0.0.1:7000
//	echo hello | nc -u -W1 127.0.0.1 7000
//
// The way of a datagram:
//
//	socket -> receive buffer -> handler -> queue -> socket
//
// The handler moves the message it was lent into the queue, so the bytes stay in the buffer
// they were received into until the system has taken them. What a turn of the loop has
// received leaves with one system call, and datagrams that came joined leave joined.
//
// On SIGINT or SIGTERM the server sends what is queued, says what it counted, and ends with
// status 0.
package main
