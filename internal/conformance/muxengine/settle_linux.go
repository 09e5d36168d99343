package muxengine

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/conformance/lowers"
	"github.com/kcm-go/kcm/mux"
)

// patience is how long things may take to settle. Nothing in a script takes a tenth of it: it is for
// those that never do.
const patience = 10 * time.Second

// settle waits until nothing is under way: see the package comment.
func (e *Engine) settle() {
	start := time.Now()
	last := ""
	for same := 0; same < 3; {
		state, busy := e.look()
		if busy || state != last {
			last, same = state, 0
			if time.Since(start) > patience {
				panic("muxengine: does not settle: " + state)
			}
			runtime.Gosched()
			continue
		}
		same++
	}
}

// look returns a picture of everything that moves, and whether it shows that something is under
// way.
func (e *Engine) look() (state string, busy bool) {
	// A task runs at the beginning of a turn, so there was a whole one between the two:
	// what the system had to tell has been told, and handled.
	for range 2 {
		_ = e.loop.Do(func() {}) // it ends after the engine
	}
	busy = !e.asleep()
	var b strings.Builder
	for _, c := range e.conns {
		attached := c.psock != nil
		if attached {
			at := c.psock.State()
			if at == mux.Ended && c.Lower.FD >= 0 {
				c.Lower.Close()
			}
			fmt.Fprint(&b, at, " ")
		}
		l, p := stateOf(&c.Lower), stateOf(&c.Peer)
		fmt.Fprint(&b, l, p, ";")
		busy = busy || l.sends(p) || p.sends(l)
		// A psock may have more to send when what it has sent is acknowledged; one that has shut
		// down is about to close.
		busy = busy || attached && (l.unacked > 0 && l.reaches(p) || l.tcp == tcpFinWait1 || l.tcp == tcpFinWait2)
	}
	return b.String(), busy
}

// States of TCP, from include/net/tcp_states.h.
const (
	tcpFinWait1 = 4
	tcpFinWait2 = 5
	tcpClose    = 7
	tcpListen   = 10
)

// endState is what TCP says of one end of a connection; there is none where it is no TCP socket.
type endState struct {
	there          bool
	tcp            uint8
	unread         int // bytes received and not read
	unsent         int // bytes written and not sent
	unacked        int // segments sent and not acknowledged
	sent, received uint64
}

func stateOf(d *lowers.End) endState {
	if d.FD < 0 {
		return endState{}
	}
	info, err := unix.GetsockoptTCPInfo(d.FD, unix.SOL_TCP, unix.TCP_INFO)
	if err != nil {
		return endState{}
	}
	s := endState{
		there: true, tcp: info.State, sent: info.Bytes_sent - info.Bytes_retrans, received: info.Bytes_received,
		unsent: d.Left() + int(info.Notsent_bytes), unacked: int(info.Unacked),
	}
	if info.State != tcpListen {
		s.unread, _ = unix.IoctlGetInt(d.FD, unix.SIOCINQ) // none, if there is no such thing
	}
	return s
}

// sends reports whether bytes of s are on their way to t.
func (s endState) sends(t endState) bool {
	return s.reaches(t) && (s.unsent > 0 || s.sent > t.received)
}

// reaches reports whether what s sends gets to t: t has room for it.
func (s endState) reaches(t endState) bool {
	return s.there && t.there && s.tcp != tcpClose && t.tcp != tcpClose && t.unread == 0
}
