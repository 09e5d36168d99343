package echo

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Server is a running echo server.
type Server interface {
	// Addr is the address the server accepts on.
	Addr() net.Addr

	// Close ends the server and its connections and returns when it no longer
	// uses the address. It is called once.
	Close() error
}

// Options are for the engines that hand messages to workers.
type Options struct {
	// Workers is how many messages a dispatching engine handles at a time. 0 is
	// 4.
	Workers int

	// Work has the dispatching engines spend on each message the time that its
	// payload asks for (see [Dispatchers]). Without it they only echo.
	Work bool
}

// engines maps the name of an engine to what starts its server.
var engines = map[string]func(addr string) (Server, error){
	"net":        listenNet,
	"gnet":       listenGnet,
	"netpoll":    listenNetpoll,
	"nbio":       listenNbio,
	"iouring-go": listenIouring,
}

// pools is the same for those that have workers.
var pools = map[string]func(addr string, o Options) (Server, error){
	"netchan":  listenNetChan,
	"netgo":    listenNetGo,
	"netpool":  listenNetPool,
	"netshard": listenNetShard,
}

// Engines returns the names of the engines that answer the messages of a
// connection in their order, the plain one first.
func Engines() []string {
	return []string{"net", "netchan", "gnet", "netpoll", "nbio", "iouring-go"}
}

// Dispatchers returns the names of the engines that are there for how they
// distribute messages over workers. They answer in the order in which workers
// finish, also without work.
//
// With [Options].Work a payload starts with what its message costs: bytes 0 to
// 3 are a time in microseconds, big endian, and byte 4 says whether the worker
// spins (0) or sleeps that long. A shorter payload costs nothing.
func Dispatchers() []string {
	return []string{"netgo", "netpool", "netshard"}
}

// Listen starts the echo server of the named engine on a TCP address
// (host:port, port 0 for any). It accepts connections when Listen returns. An
// engine that this system lacks gives an error that wraps
// [errors.ErrUnsupported], and so does work asked of an engine that only
// echoes.
func Listen(engine, addr string, o Options) (Server, error) {
	if o.Workers < 0 {
		return nil, fmt.Errorf("listen: %d workers", o.Workers)
	}
	if o.Workers == 0 {
		o.Workers = 4
	}
	listen := pools[engine]
	if plain := engines[engine]; plain != nil {
		listen = func(addr string, _ Options) (Server, error) { return plain(addr) }
	}
	if listen == nil {
		names := slices.Concat(Engines(), Dispatchers())
		return nil, fmt.Errorf("listen: no engine %q, have %s", engine, strings.Join(names, ", "))
	}
	if o.Work && !slices.Contains(Dispatchers(), engine) {
		return nil, fmt.Errorf("listen: %s: only echoes, work: %w", engine, errors.ErrUnsupported)
	}
	s, err := listen(addr, o)
	if err != nil {
		return nil, fmt.Errorf("listen: %s: %w", engine, err)
	}
	return s, nil
}
