package recorded

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "Protobuf", f: formats.Protobuf,
		encoders:  []string{"google.golang.org/protobuf/encoding/protodelim"},
		reference: "Protocol Buffers, Techniques, Streaming Multiple Messages",
		messages:  protobufMessages,
		decoder: func(stream io.Reader) func() error {
			b := bufio.NewReader(stream)
			return func() error {
				// Any message will do: what it does not know it keeps.
				return protodelim.UnmarshalOptions{MaxSize: maxMessage}.UnmarshalFrom(b, new(wrapperspb.DoubleValue))
			}
		},
	})
}

// protobufMessages is messages whose sizes are those of each length of the varint, and
// some with fields in fields.
func protobufMessages(t *testing.T) (messages [][]byte) {
	rng := rand.New(rand.NewPCG(1, 1))
	o := protodelim.MarshalOptions{MarshalOptions: proto.MarshalOptions{Deterministic: true}}
	write := func(m proto.Message) {
		var b bytes.Buffer
		if _, err := o.MarshalTo(&b, m); err != nil {
			t.Fatal(err)
		}
		messages = append(messages, b.Bytes())
	}
	for _, n := range sizes(rng, 1<<7, 1<<14, 1<<21) {
		// The field's tag and length take bytes too.
		for _, less := range []int{0, 2, 3, 4, 5} {
			write(wrapperspb.Bytes(payload(rng, max(n-less, 0))))
		}
		m, err := structpb.NewStruct(map[string]any{"n": n, "text": text(rng, n%300), "list": []any{true, nil, "x"}})
		if err != nil {
			t.Fatal(err)
		}
		write(m)
	}
	return messages
}
