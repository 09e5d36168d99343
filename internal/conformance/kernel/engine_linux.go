package kernel

import (
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/conformance"
	"github.com/kcm-go/kcm/internal/conformance/figures"
	"github.com/kcm-go/kcm/internal/conformance/lowers"
)

// settle waits for what an action has set going. On a virtual machine's one processor, which
// the host may not run for a while, a sleep can be over before anybody else had a turn; but not
// several, as each lets the others run first.
func settle() {
	for range 4 {
		time.Sleep(3 * time.Millisecond)
	}
}

// Engine is the conformance.Engine on AF_KCM. It is for one script, and for one goroutine. What it
// has opened is closed when the process ends.
type Engine struct {
	sockets  []*socket
	conns    []*lowers.Conn // and the peers, which have the same numbers
	calls    []chan string
	muxes    []*mux         // that are there, the oldest first
	programs map[string]int // descriptors by parser
}

// mux is a multiplexor: what its sockets have in common.
type mux struct{ sockets int }

// New returns an engine without any sockets.
func New() *Engine { return &Engine{programs: make(map[string]int)} }

// Do implements conformance.Engine.
func (e *Engine) Do(a *conformance.Action) string {
	switch a.Object {
	case conformance.Socket:
		if a.N > len(e.sockets) {
			return fmt.Sprintf("no socket %d", a.N)
		}
		return e.doSocket(e.sockets[a.N-1], a)
	case conformance.Conn, conformance.Peer:
		if a.N > len(e.conns) {
			return fmt.Sprintf("no %s %d", a.Object, a.N)
		}
		c := e.conns[a.N-1]
		at := &c.Lower
		if a.Object == conformance.Peer {
			at = &c.Peer
		}
		return c.Do(at, a, settle)
	}
	switch a.Verb {
	case "open":
		return e.open(a)
	case "wait":
		time.Sleep(time.Duration(a.Numbers[0]) * time.Millisecond)
		return "ok"
	case "result":
		settle()
		if a.Numbers[0] < 1 || a.Numbers[0] > len(e.calls) {
			return fmt.Sprintf("no call %d", a.Numbers[0])
		}
		return result(e.calls[a.Numbers[0]-1])
	case "stats":
		return e.totals(a)
	}
	return "not supported"
}

// result returns the outcome of a call that waits.
func result(c chan string) string {
	select {
	case r := <-c:
		c <- r // for whoever asks again
		return r
	default:
		return "waits"
	}
}

// call makes a call that may wait, and returns its outcome if it is done when things have
// settled.
func (e *Engine) call(f func() string) string {
	c := make(chan string, 1)
	go func() { c <- f() }()
	settle()
	if r := result(c); r != "waits" {
		return r
	}
	e.calls = append(e.calls, c)
	return fmt.Sprintf("waits as %d", len(e.calls))
}

// open makes a socket or a conn.
func (e *Engine) open(a *conformance.Action) string {
	defer settle()
	kind := a.Words[0]
	types := map[string]int{"dgram": unix.SOCK_DGRAM, "seqpacket": unix.SOCK_SEQPACKET, "stream": unix.SOCK_STREAM}
	if typ, ok := types[kind]; ok {
		protocol := unix.KCMPROTO_CONNECTED
		if len(a.Numbers) > 0 {
			protocol = a.Numbers[0]
		}
		fd, err := unix.Socket(unix.AF_KCM, typ|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			return lowers.Name(err)
		}
		m := &mux{}
		e.muxes = append(e.muxes, m)
		return e.add(fd, m)
	}
	c, err := lowers.Open(kind, settle)
	if err != nil {
		return lowers.Name(err)
	}
	e.conns = append(e.conns, c)
	return fmt.Sprintf("conn %d", len(e.conns))
}

// add numbers a socket.
func (e *Engine) add(fd int, m *mux) string {
	m.sockets++
	e.sockets = append(e.sockets, &socket{fd: fd, mux: m})
	return fmt.Sprintf("socket %d", len(e.sockets))
}

// program returns the descriptor of the parser's program.
func (e *Engine) program(parser string) (int, error) {
	if parser == "badfd" {
		return -1, nil
	}
	if fd, ok := e.programs[parser]; ok {
		return fd, nil
	}
	var fd int
	var err error
	if parser == "notprogram" {
		fd, err = unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	} else {
		var insns []instruction
		if insns, err = program(parser); err != nil {
			return 0, err
		}
		typ := uint32(socketFilter)
		if parser == "wrongtype" {
			typ = xdp
		}
		fd, err = loadProgram(typ, encode(insns))
	}
	if err != nil {
		return 0, err
	}
	e.programs[parser] = fd
	return fd, nil
}

// totals returns the figures of all multiplexors.
func (e *Engine) totals(a *conformance.Action) string {
	text, err := os.ReadFile("/proc/self/net/kcm_stats")
	if err != nil {
		return err.Error()
	}
	mux, conns, err := figures.ParseTotals(string(text), a.Has("brief"))
	if err != nil {
		return err.Error()
	}
	if a.Words[0] == "conns" {
		if conns == "" {
			conns = "none"
		}
		return conns
	}
	list, err := os.ReadFile("/proc/self/net/kcm")
	if err != nil {
		return err.Error()
	}
	n, err := figures.CountMuxes(string(list))
	if err != nil {
		return err.Error()
	}
	return conformance.Join("muxes", fmt.Sprint(n), mux)
}

// stats returns the figures of one multiplexor.
func (e *Engine) stats(m *mux, a *conformance.Action) string {
	text, err := os.ReadFile("/proc/self/net/kcm")
	if err != nil {
		return err.Error()
	}
	all, err := figures.ParseMuxes(string(text), a.Has("brief"))
	if err != nil {
		return err.Error()
	}
	i := slices.Index(e.muxes, m)
	if i < 0 || len(all) != len(e.muxes) {
		return fmt.Sprintf("%d multiplexors, want %d", len(all), len(e.muxes))
	}
	s := all[len(all)-1-i]
	list := []string{s.Total}
	switch a.Words[0] {
	case "sockets":
		list = s.Sockets
	case "conns":
		list = s.Conns
	}
	if len(list) == 0 {
		return "none"
	}
	return conformance.Join(list...)
}
