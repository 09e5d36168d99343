// Restart is a server that can be replaced while peers connect: on SIGHUP a new process of
// the same program, perhaps a newer one, takes its listening socket over.
//
//	go build -o /tmp/restart ./examples/restart
//	/tmp/restart -listen 127.0.0.1:7000 &
//	printf '\0\0\0\5hello' | nc -N 127.0.0.1 7000 | xxd
//	kill -HUP $!
//
// What happens then:
//
//	old process                             new process
//	HandOver, start         ------------->  InheritedListeners
//	both accept, whoever is faster          Serve, "ready"
//	Retire                  <-------------
//	its peers finish, or drainTime ends
//	Shutdown, exit                          goes on
//
// What waits to be accepted belongs to the socket and not to a process, so nobody is
// refused meanwhile. If the new process fails, or is not ready in time, the old one goes
// on. A peer that keeps its connection keeps the old process, for drainTime at most.
//
// A message, a 4-byte big-endian length and so many bytes, is sent back. The address is that of
// the first process; the socket may also come from systemd (a unit with Sockets=), which then
// keeps it while the service is down.
//
// On SIGINT or SIGTERM the server stops accepting, sends what is queued, closes its
// connections and ends with status 0.
package main
