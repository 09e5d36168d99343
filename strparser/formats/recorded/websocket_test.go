package recorded

import (
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gorilla/websocket"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "WebSocket", f: formats.WebSocket,
		encoders:  []string{"github.com/gorilla/websocket", "github.com/gobwas/ws"},
		reference: "RFC 6455, section 5.2; RFC 7692",
		messages: func(t *testing.T) [][]byte {
			return append(gobwasFrames(t), gorillaFrames(t)...)
		},
		decoder: func(stream io.Reader) func() error {
			return func() error { return readFrame(stream) }
		},
	})
}

// readFrame reads a frame as gobwas does.
func readFrame(r io.Reader) error {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return err
	}
	_, err = io.CopyN(io.Discard, r, h.Length)
	return err
}

// gobwasFrames is frames that gobwas encodes, one with each call, with and without a
// mask.
func gobwasFrames(t *testing.T) [][]byte {
	rng := rand.New(rand.NewPCG(1, 1))
	w := new(writes)
	write := func(f ws.Frame) {
		b, err := ws.CompileFrame(f)
		if err == nil {
			_, err = w.Write(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	for _, n := range []int{0, 1, 124, 125} { // the longest there may be
		write(ws.NewPingFrame(payload(rng, n)))
		write(ws.MaskFrameWith(ws.NewPongFrame(payload(rng, n)), mask))
	}
	write(ws.NewCloseFrame(nil))
	write(ws.MaskFrameWith(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusGoingAway, "bye")), mask))
	for _, n := range sizes(rng, 126, 1<<16, 1<<20) {
		write(ws.NewFrame(ws.OpText, false, payload(rng, n)))
		write(ws.NewFrame(ws.OpContinuation, true, payload(rng, n)))
		write(ws.MaskFrameWith(ws.NewBinaryFrame(payload(rng, n)), mask))
	}
	return w.messages
}

// gorillaFrames is what client and server of gorilla send each other, compressed and in
// fragments too.
func gorillaFrames(t *testing.T) [][]byte {
	server := make(chan [][]byte, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{EnableCompression: true, WriteBufferSize: 1000}
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			close(server)
			return
		}
		server <- gorillaTalk(t, c)
	}))
	s.Listener = tappedListener{s.Listener}
	s.Start()
	defer s.Close()
	dialer := websocket.Dialer{
		EnableCompression: true, WriteBufferSize: 70000,
		NetDial: func(network, addr string) (net.Conn, error) {
			c, err := net.Dial(network, addr)
			return tapped{c, new(writes)}, err
		},
	}
	c, _, err := dialer.Dial("ws"+strings.TrimPrefix(s.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return append(gorillaTalk(t, c), <-server...)
}

// gorillaTalk sends messages to c until it closes it, reads what comes, and returns the
// frames.
func gorillaTalk(t *testing.T, c *websocket.Conn) (frames [][]byte) {
	defer c.Close()
	c.SetPingHandler(func(string) error { return nil }) // no answers between the frames
	c.SetCloseHandler(func(int, string) error { return nil })
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			if _, _, err := c.ReadMessage(); err != nil {
				if !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
					t.Error(err)
				}
				return
			}
		}
	})
	w := c.NetConn().(tapped).to.(*writes)
	rng := rand.New(rand.NewPCG(1, 2))
	write := func(kind int, b []byte) {
		w.take()
		if err := c.WriteMessage(kind, b); err != nil {
			t.Error(err)
		}
		all := slices.Concat(w.take()...)
		frames = append(frames, cut(t, all, readFrame)...)
	}
	for _, n := range sizes(rng, 126, 3000, 1<<16) {
		c.EnableWriteCompression(n%3 == 0)
		write(websocket.TextMessage, []byte(text(rng, n)))
		write(websocket.BinaryMessage, payload(rng, n))
		write(websocket.PingMessage, payload(rng, n%126))
	}
	write(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, "bye"))
	reader.Wait()
	return frames
}

// tappedListener accepts connections that keep what is written to them.
type tappedListener struct{ net.Listener }

func (l tappedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return tapped{c, new(writes)}, err
}
