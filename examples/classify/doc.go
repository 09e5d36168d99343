// Classify is a key-value server that tells quick requests from slow ones: the handler
// answers the quick ones on the connection's loop and passes the others to workers.
// Clients may send many requests without waiting; the replies come in their order.
//
//	go run ./examples/classify
//	printf '\0\0\0\7Sa1 one\0\0\0\7Sa2 two\0\0\0\3Ga1\0\0\0\2Da' | nc -N 127.0.0.1 7000 | xxd
//
// The way of a message:
//
//	                             answered by the handler ---------+
//	                            /                                 v
//	connection -> loop -> parser                            replies in order -> out queue
//	                            \                                 ^
//	                             Pass -> queue -> worker ---------+
//
// A message is a 4-byte big-endian length and so many bytes. The requests are
//
//	S<key> <value>   set it                                             quick
//	G<key>           get it                                             quick
//	D<prefix>        count the keys with the prefix, and the SHA-256    slow
//	                 of their values in the order of the keys
//
// and a reply is "+" and the result, or "-" and what is wrong. While workers are at
// digests, the quick requests of other connections are answered at once. Those of the same
// connection are carried out at once too, and only their replies wait
// (Options.OrderedReplies): a digest may include what was set after it was asked for.
// A client that minds waits for its reply.
//
// The values are in a sync.Map, since a handler must not block: a worker that walks
// through it holds no lock that the next Set on a loop would wait for.
//
// On SIGINT or SIGTERM the server stops accepting, answers the requests it has received,
// closes its connections and ends with status 0. A second signal ends it at once.
package main
