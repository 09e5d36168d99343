// Package conformance says in small scripts what message sockets do, and has the real
// AF_KCM of Linux as the referee: the outcomes beside the actions are the kernel's, and package
// mux is held to them.
//
// A script is a text file in testdata, one for each case:
//
//	# E8: messages that were there before the attach are delivered by it.
//
//	open dgram
//	= socket 1
//	open tcp
//	= conn 1
//	peer 1 write msg "one" msg "two"
//	= ok
//	socket 1 attach conn 1
//	= ok
//	socket 1 recv 100
//	= 7 eor msg "one"
//
// An action is one line, and so is its outcome. The line of an outcome begins with "=" and
// a space when it holds for every engine, and with "=NAME" when it is that engine's alone:
// "=6.1 ..." is what Linux 6.1 does, "=mux ..." what package mux does where it is meant to
// differ. Comments stand in lines of their own. The numbers in the
// first comment (E8, I5, KC-4) are those of docs/kcm.md: edge case, invariant, and difference
// between the kernel and package mux. A script with outcomes of mux ends it with the reasons for
// them, as numbers: "In mux: KC-1, KC-11."
//
// # What there is
//
// Sockets (message sockets), conns (lowers: the ends that get attached) and peers (the far
// ends, which have the number of their conn) are numbered from 1 in the order of their
// creation. What fails to be created takes no number.
//
//	open dgram|seqpacket|stream [PROTOCOL]      a socket with a multiplexor of its own
//	open tcp|tcp6                               a connection over loopback: conn and peer
//	open connecting                             the same, but peer has not accepted it yet
//	open listening|unconnected|udp|unix|file|none   conns that are none, to be refused
//	socket N clone                              a socket of the same multiplexor
//	socket N attach conn|socket N [PARSER]      PARSER frames what the conn receives
//	socket N unattach conn|socket N
//	socket N send [more] [eor] [batch] [oob] [fault] [wait] [DATA]
//	socket N sendeach [batch] DATA              one sendmmsg, each piece a message
//	socket N recv SIZE [peek] [trunc] [waitall] [fault] [wait]
//	socket N splice SIZE [nonblock]             into a pipe; SPLICE_F_NONBLOCK
//	socket N disable | enable                   receive-disable
//	socket N setsockopt kcm|tcp OPTION SIZE VALUE
//	socket N getsockopt kcm|tcp OPTION SIZE
//	socket N try CALL                           a call that sockets may not support
//	socket N stats mux|sockets|conns [brief]    the socket's multiplexor; brief leaves out bytes
//	socket|conn|peer N set OPTION VALUE         rcvbuf, sndbuf, rcvlowat; rcvtimeo, sndtimeo in ms
//	socket|conn|peer N poll                     which of in, out, err, hup, rdhup
//	socket|conn|peer N error                    SO_ERROR, which takes it
//	socket|conn|peer N close
//	conn|peer N write DATA                      plain TCP
//	conn|peer N read                            all that comes, plain TCP
//	conn|peer N drain                           the same, told without the size of a cut message
//	peer N accept | fin | reset                 reset closes with an RST
//	stats mux|conns [brief]                     all multiplexors, those that are gone included
//	wait MS
//	result N                                    of a call that was left waiting
//
// With the flag fault the data is followed by, or the buffer is, memory that is not there.
//
// No call waits, but those with the flag wait: when such a one has not returned when things
// have settled its outcome is "waits as N".
//
// # Data
//
// DATA is one or more pieces. A message is four bytes of length, big endian, and a body that
// the length counts.
//
//	"text"      the bytes; 5 "ab" is "ababa"
//	hex 0005    the bytes
//	msg RUN     a whole message with that body; msg "" is an empty one
//	head 10     the header alone of a message with a body of 10 bytes
//	fail 74     a header of which the parser "errno" makes the result -74
//
// A + joins runs: msg 3 "a" + hex 00 + "b". Outcomes tell bytes the same way, see
// [Describe].
//
// # Engines
//
// [Play] gives a script's actions to an [Engine] one by one. An engine carries an action out,
// waits until everything has settled, and returns the outcome. There are two, which share the
// plain connections of internal/conformance/lowers:
//
//   - internal/conformance/kernel is the one with AF_KCM; it needs that module and privilege, so
//     internal/conformance/lab runs it in a virtual machine.
//   - internal/conformance/muxengine is the one on package mux; its tests replay all scripts.
//
// The package itself is pure: it parses, prints and compares. It reads scripts from an fs.FS
// and does no other input or output.
package conformance
