package echo

import (
	"net"
	"runtime"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"
)

// nbioServer echoes on nbio, whose pollers read and call back on the spot.
type nbioServer struct {
	engine *nbio.Engine
	addr   net.Addr
}

func listenNbio(addr string) (Server, error) {
	logging.SetLevel(logging.LevelNone)
	var bound net.Addr
	engine := nbio.NewEngine(nbio.Config{
		Network:        "tcp",
		Addrs:          []string{addr},
		NPoller:        runtime.GOMAXPROCS(0),
		ReadBufferSize: bufferSize,
		Listen: func(network, addr string) (net.Listener, error) {
			ln, err := net.Listen(network, addr)
			if err == nil {
				bound = ln.Addr()
			}
			return ln, err
		},
	})
	engine.OnOpen(func(c *nbio.Conn) { c.SetSession(new([]byte)) })
	engine.OnData(func(c *nbio.Conn, data []byte) {
		if err := echoNbio(c, c.Session().(*[]byte), data); err != nil {
			c.CloseWithError(err)
		}
	})
	if err := engine.Start(); err != nil {
		return nil, err
	}
	return &nbioServer{engine, bound}, nil
}

// echoNbio writes the whole frames straight from the poller's buffer and keeps
// the rest in kept, where the frame it begins is put together.
func echoNbio(c *nbio.Conn, kept *[]byte, data []byte) error {
	joined := len(*kept) > 0
	if joined {
		*kept = append(*kept, data...)
		data = *kept
	}
	n, next, err := whole(data)
	if err != nil {
		return err
	}
	if joined && n == 0 {
		*kept = grow(*kept, next)
		return nil
	}
	if n > 0 {
		if _, err := c.Write(data[:n]); err != nil {
			return err
		}
	}
	*kept = append(grow((*kept)[:0], next), data[n:]...)
	return nil
}

func (s *nbioServer) Addr() net.Addr { return s.addr }

func (s *nbioServer) Close() error {
	s.engine.Stop()
	return nil
}
