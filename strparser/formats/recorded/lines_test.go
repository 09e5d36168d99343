package recorded

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/textproto"
	"testing"

	"github.com/kcm-go/kcm/strparser"
	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "Lines", f: formats.Lines,
		encoders:  []string{"net/textproto", "encoding/json"},
		reference: `RFC 5321, section 2.3.8 (lines end with \r\n); newline-delimited JSON (with \n)`,
		messages:  lineMessages,
		decoder: func(stream io.Reader) func() error {
			r := textproto.NewReader(bufio.NewReader(stream))
			return func() error {
				_, err := r.ReadLineBytes()
				return err
			}
		},
	}, protocol{
		name: "Delimited", f: dots(),
		encoders:  []string{"net/textproto"},
		reference: `RFC 5321, section 4.1.1.4: the data of a mail ends with \r\n.\r\n, which is the delimiter here`,
		messages:  dotMessages,
		decoder: func(stream io.Reader) func() error {
			r := textproto.NewReader(bufio.NewReader(stream))
			return func() error {
				_, err := r.ReadDotBytes()
				return err
			}
		},
	})
}

// lineMessages is lines of textproto, which end with \r\n, and values of encoding/json,
// which end with \n. Each is one call.
func lineMessages(t *testing.T) (messages [][]byte) {
	rng := rand.New(rand.NewPCG(1, 1))
	write := func(encode func(w io.Writer) error) {
		var b bytes.Buffer
		if err := encode(&b); err != nil {
			t.Fatal(err)
		}
		messages = append(messages, b.Bytes())
	}
	for _, n := range sizes(rng, 78, 998, 4096, 1<<16) {
		write(func(w io.Writer) error {
			return textproto.NewWriter(bufio.NewWriter(w)).PrintfLine("%s", text(rng, n))
		})
		write(func(w io.Writer) error {
			return json.NewEncoder(w).Encode(map[string]any{"n": n, "text": text(rng, n%200) + "\r\n", "bytes": payload(rng, n%50)})
		})
	}
	return messages
}

// dots is the format of what ends with a line that is a dot.
func dots() strparser.Format {
	f, err := formats.Delimited("\r\n.\r\n")
	if err != nil {
		panic(err)
	}
	return f
}

// dotMessages is texts that textproto ends with a dot, and in which it adds one to lines
// that begin with a dot. Each is what one DotWriter writes.
func dotMessages(t *testing.T) (messages [][]byte) {
	rng := rand.New(rand.NewPCG(1, 1))
	texts := []string{"", "\n", "\n\n", ".", "..", "a\n.\nb\n", ".\n.\n.", "a\n..\n", "a\r\n.\r\nb", "\r\r\n", "a\n.\r", "\r\n.\r"}
	for _, n := range sizes(rng, 78, 998, 4096, 1<<16) {
		texts = append(texts, text(rng, n))
		b := make([]byte, n%700)
		for i := range b {
			b[i] = "\r\n.a"[rng.IntN(4)]
		}
		texts = append(texts, string(b))
	}
	for _, s := range texts {
		var b bytes.Buffer
		w := textproto.NewWriter(bufio.NewWriter(&b)).DotWriter()
		if _, err := fmt.Fprint(w, s); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		messages = append(messages, b.Bytes())
	}
	return messages
}
