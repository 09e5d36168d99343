package recorded

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "Thrift", f: formats.Thrift,
		encoders:  []string{"github.com/apache/thrift/lib/go/thrift"},
		reference: "Apache Thrift, thrift-rpc.md, Framed vs. unframed transport",
		messages:  thriftMessages,
		decoder: func(stream io.Reader) func() error {
			framed := thrift.NewTFramedTransportConf(thrift.NewStreamTransportR(stream), thriftConf)
			return func() error {
				binary := thrift.NewTBinaryProtocolConf(framed, thriftConf)
				name, kind, _, err := binary.ReadMessageBegin(context.Background())
				if err == nil && (name != "put" || kind != thrift.CALL) {
					err = fmt.Errorf("%q is called by %d", name, kind)
				}
				if err == nil {
					err = binary.Skip(context.Background(), thrift.STRUCT)
				}
				if n := framed.RemainingBytes(); err == nil && n > 0 {
					err = fmt.Errorf("%d bytes remain", n)
				}
				return err
			}
		},
	})
}

var thriftConf = &thrift.TConfiguration{MaxFrameSize: maxMessage, MaxMessageSize: maxMessage}

// thriftMessages is calls with a struct of a string; each is a frame when it is flushed.
func thriftMessages(t *testing.T) (messages [][]byte) {
	rng := rand.New(rand.NewPCG(1, 1))
	ctx := context.Background()
	for i, n := range sizes(rng, 1<<8, 1<<16, 1<<20, 1<<24) {
		var b bytes.Buffer
		framed := thrift.NewTFramedTransportConf(thrift.NewStreamTransportW(&b), thriftConf)
		p := thrift.NewTBinaryProtocolConf(framed, thriftConf)
		for _, err := range []error{
			p.WriteMessageBegin(ctx, "put", thrift.CALL, int32(i)),
			p.WriteStructBegin(ctx, "put_args"),
			p.WriteFieldBegin(ctx, "value", thrift.STRING, 1),
			p.WriteBinary(ctx, payload(rng, n)),
			p.WriteFieldEnd(ctx),
			p.WriteFieldStop(ctx),
			p.WriteStructEnd(ctx),
			p.WriteMessageEnd(ctx),
			p.Flush(ctx),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		messages = append(messages, b.Bytes())
	}
	return messages
}
