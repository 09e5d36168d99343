// Mixed serves two protocols on one port: messages with a 4-byte length, which it sends
// back, and HTTP.
//
//	go run ./examples/mixed -listen 127.0.0.1:7000
//	printf '\0\0\0\5hello' | nc -N 127.0.0.1 7000 | xxd
//	curl http://127.0.0.1:7000/
//
// The first byte of a connection tells: that of a length is 0, that of an HTTP request a
// letter.
//
//	connection -> loop -> parser -> handler        a message
//	                        | declined
//	                        +-> net.Conn -> net/http
//
// The format declines what begins with a letter. Mux then gives the connection back, with
// the bytes that were received replayed, and it becomes one of net/http's.
//
// On SIGINT or SIGTERM the server stops accepting, ends both kinds of connections and ends
// with status 0.
package main
