package echo

import (
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

// engines maps the name of an engine to what starts its server.
var engines = map[string]func(addr string) (Server, error){
	"net":        listenNet,
	"netchan":    listenNetChan,
	"gnet":       listenGnet,
	"netpoll":    listenNetpoll,
	"nbio":       listenNbio,
	"iouring-go": listenIouring,
}

// Engines returns the names of all engines, the plain one first.
func Engines() []string {
	return []string{"net", "netchan", "gnet", "netpoll", "nbio", "iouring-go"}
}

// Listen starts the echo server of the named engine on a TCP address
// (host:port, port 0 for any). It accepts connections when Listen returns. An
// engine that this system lacks gives an error that wraps
// [errors.ErrUnsupported].
func Listen(engine, addr string) (Server, error) {
	listen := engines[engine]
	if listen == nil {
		names := slices.Sorted(slices.Values(Engines()))
		return nil, fmt.Errorf("listen: no engine %q, have %s", engine, strings.Join(names, ", "))
	}
	s, err := listen(addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %s: %w", engine, err)
	}
	return s, nil
}
