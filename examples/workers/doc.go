// Workers is a server whose handlers block: each message names a file below a root
// directory, and the reply is the file's size and SHA-256, or what is wrong.
//
//	go run ./examples/workers -root . -workers 8
//	printf '\0\0\0\6go.mod' | nc -N 127.0.0.1 7000 | tail -c +5
//
// The way of a message:
//
//	connection -> loop -> parser -> queue -> worker -> out queue of the same connection
//
// A loop must not wait for a disk, so there is no handler on it: every message goes to
// one of the workers, who may. A connection's messages are handled one by one
// (Options.FlowCap is 1), so its replies come in the order of its requests, and
// while one of them takes long the messages of other connections are handled. A named
// pipe shows it (nc is netcat; without a reader of the pipe the last line waits):
//
//	mkfifo slow
//	printf '\0\0\0\4slow\0\0\0\6go.mod' | nc -N 127.0.0.1 7000 | xxd &
//	printf '\0\0\0\6go.mod' | nc -N 127.0.0.1 7000 | tail -c +5
//	echo at last > slow
//
// More requests than the workers can keep up with make a queue. With -delay 5ms, when
// every wait has been longer than that for a hundred milliseconds, the requests that
// waited too long get the reply "overloaded" instead, which costs no file.
//
// On SIGINT or SIGTERM the server stops accepting, answers the requests it has received,
// closes its connections, prints what it has done and how long requests waited for a
// worker, and ends with status 0. A file that cannot be read within five seconds is
// not waited for; the status is 1 then. A second signal ends it at once.
package main
