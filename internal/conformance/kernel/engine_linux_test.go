package kernel

import (
	"strings"
	"testing"

	"github.com/kcm-go/kcm/internal/conformance"
)

// play runs a script whose outcomes are written down and compares. Nothing in it may need
// AF_KCM, which the machine that tests run on will not have.
func play(t *testing.T, script string) {
	t.Helper()
	s, err := conformance.ParseScript(script)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range conformance.Compare(s, "here", conformance.Play(New(), s, nil)) {
		t.Error(d)
	}
}

func TestLowers(t *testing.T) {
	play(t, `
open tcp
= conn 1
conn 1 poll
= out
peer 1 write msg "one" head 5 "ab"
= ok
conn 1 poll
= in out
conn 1 read
= msg "one" head 5 "ab"
conn 1 read
= nothing
conn 1 write msg "one" head 5 "ab"
= ok
peer 1 drain
= msg "one" part
conn 1 error
= none
peer 1 fin
= ok
conn 1 read
= eof
conn 1 poll
= in out rdhup
conn 1 close
= ok
conn 1 read
= no conn 1
peer 1 accept
= no listener
conn 2 poll
= no conn 2
open tcp
= conn 2
peer 2 reset
= ok
conn 2 poll
= in out err hup rdhup
conn 2 error
= ECONNRESET
conn 2 write "x"
= EPIPE
`)
}

func TestBlockedWrite(t *testing.T) {
	play(t, `
open tcp
= conn 1
peer 1 set sndbuf 4096
= ok
peer 1 write msg 20000000 "a"
= blocked
peer 1 write msg "b"
= blocked
peer 1 close
= ok
peer 1 write "c"
= no peer 1
`)
}

func TestConnecting(t *testing.T) {
	play(t, `
open connecting
= conn 1
conn 1 poll
= nothing
peer 1 write "x"
= no peer 1
peer 1 accept
= ok
conn 1 poll
= out
peer 1 write "x"
= ok
conn 1 read
= "x"
`)
}

func TestOtherConns(t *testing.T) {
	play(t, `
open listening
= conn 1
open unconnected
= conn 2
open udp
= conn 3
open unix
= conn 4
peer 4 write "x"
= ok
conn 4 read
= "x"
open file
= conn 5
open none
= conn 6
conn 6 poll
= no conn 6
`)
}

func TestNothingThere(t *testing.T) {
	play(t, `
socket 1 recv 10
= no socket 1
result 1
= no call 1
wait 1
= ok
`)
}

// The sockets need the module: where it is not there the error says so.
func TestOpenSocket(t *testing.T) {
	e := New()
	a, err := conformance.ParseAction("open dgram")
	if err != nil {
		t.Fatal(err)
	}
	got := e.Do(&a)
	if got != "socket 1" && !strings.HasPrefix(got, "E") {
		t.Errorf("open dgram: %s", got)
	}
	if strings.HasPrefix(got, "socket") != (len(e.sockets) == 1) {
		t.Errorf("%s, and %d sockets", got, len(e.sockets))
	}
}
