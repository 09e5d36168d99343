package recorded

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/markdingo/netstring"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "Netstring", f: formats.Netstring,
		encoders:  []string{"github.com/markdingo/netstring"},
		reference: "D. J. Bernstein, Netstrings (1997)",
		messages:  netstringMessages,
		decoder: func(stream io.Reader) func() error {
			d := netstring.NewDecoder(stream)
			return func() error {
				_, err := d.Decode()
				return err
			}
		},
	})
}

// netstringMessages is strings with lengths of one to nine digits, less what takes too
// much memory; some of them begin with a key.
func netstringMessages(t *testing.T) (messages [][]byte) {
	rng := rand.New(rand.NewPCG(1, 1))
	for i, n := range sizes(rng, 10, 100, 1000, 10000, 100000, 1000000, 10000000) {
		var b bytes.Buffer
		e := netstring.NewEncoder(&b)
		key := netstring.NoKey
		if i%4 == 3 {
			key = 'k'
		}
		if err := e.EncodeBytes(key, payload(rng, n)); err != nil {
			t.Fatal(err)
		}
		messages = append(messages, b.Bytes())
	}
	for _, s := range []string{",", ":", "1:a,", "12:", "\r\n", fmt.Sprint(1 << 40)} {
		var b bytes.Buffer
		if err := netstring.NewEncoder(&b).EncodeString(netstring.NoKey, s); err != nil {
			t.Fatal(err)
		}
		messages = append(messages, b.Bytes())
	}
	return messages
}
