package recorded

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "HTTP2", f: formats.HTTP2,
		encoders:  []string{"golang.org/x/net/http2"},
		reference: "RFC 9113, sections 3.4, 4.1, 6; RFC 9218, section 7.1",
		messages:  http2Messages,
		decoder: func(stream io.Reader) func() error {
			f := http2.NewFramer(nil, stream)
			f.AllowIllegalReads = true
			f.SetMaxReadFrameSize(1<<24 - 1)
			begun := false
			return func() error {
				if begun {
					_, err := f.ReadFrame()
					return err
				}
				begun = true
				b := make([]byte, len(http2.ClientPreface))
				if _, err := io.ReadFull(stream, b); err != nil || string(b) != http2.ClientPreface {
					return fmt.Errorf("a preface of %q: %v", b, err)
				}
				return nil
			}
		},
	})
}

// http2Messages is the client's preface and frames of each type. Each is one call, and
// one Write.
func http2Messages(t *testing.T) [][]byte {
	rng := rand.New(rand.NewPCG(1, 1))
	w := &writes{messages: [][]byte{[]byte(http2.ClientPreface)}}
	f := http2.NewFramer(w, nil)
	var block bytes.Buffer
	h := hpack.NewEncoder(&block)
	for _, field := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":path", Value: "/"}, {Name: "x", Value: "y", Sensitive: true}} {
		if err := h.WriteField(field); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		f.WriteSettings(), f.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1<<24 - 1}, http2.Setting{ID: http2.SettingEnablePush}),
		f.WriteSettingsAck(), f.WriteWindowUpdate(0, 1<<20),
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes()}),
		f.WriteContinuation(1, true, block.Bytes()),
		f.WriteHeaders(http2.HeadersFrameParam{
			StreamID: 3, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true, PadLength: 255,
			Priority: http2.PriorityParam{StreamDep: 1, Weight: 7},
		}),
		f.WritePriority(3, http2.PriorityParam{StreamDep: 1, Exclusive: true}), f.WritePriorityUpdate(3, "u=5"),
		f.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: block.Bytes(), EndHeaders: true}),
		f.WriteDataPadded(1, false, payload(rng, 20), make([]byte, 5)),
		f.WritePing(false, [8]byte{1, 2, 3}), f.WritePing(true, [8]byte{1, 2, 3}),
		f.WriteRawFrame(0xbe, 0xff, 1<<31-1, payload(rng, 50)), // a type that nobody knows
		f.WriteRSTStream(1, http2.ErrCodeCancel), f.WriteGoAway(3, http2.ErrCodeNo, nil), f.WriteGoAway(3, http2.ErrCodeNo, []byte("bye")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range sizes(rng, 1<<8, 1<<14, 1<<16, 1<<20, 1<<24-2) {
		if err := f.WriteData(1, rng.IntN(2) == 0, payload(rng, n)); err != nil {
			t.Fatal(err)
		}
	}
	// Lengths that are, or nearly, the first bytes of the preface.
	for _, n := range []int{'P'<<16 | 'R'<<8 | 'H', 'P'<<16 | 'R'<<8 | 'I', 'P'<<16 | 'R'<<8 | 'J'} {
		if err := f.WriteData(1, false, payload(rng, n)); err != nil {
			t.Fatal(err)
		}
	}
	return w.messages
}
