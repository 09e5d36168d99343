package recorded

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/datastax/go-cassandra-native-protocol/compression/snappy"
	"github.com/datastax/go-cassandra-native-protocol/datatype"
	"github.com/datastax/go-cassandra-native-protocol/frame"
	"github.com/datastax/go-cassandra-native-protocol/message"
	"github.com/datastax/go-cassandra-native-protocol/primitive"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "CQL", f: formats.CQL,
		encoders:  []string{"github.com/datastax/go-cassandra-native-protocol/frame"},
		reference: "CQL binary protocol v3 and v4, section 2",
		messages:  cqlFrames,
		decoder: func(stream io.Reader) func() error {
			codec := frame.NewRawCodecWithCompression(snappy.Compressor{})
			return func() error {
				raw, err := codec.DecodeRawFrame(stream)
				if err == nil {
					_, err = codec.ConvertFromRawFrame(raw)
				}
				return err
			}
		},
	})
}

// cqlFrames is requests and responses of both versions, and queries and rows of many
// sizes, some compressed. Each is one call.
func cqlFrames(t *testing.T) (messages [][]byte) {
	rng := rand.New(rand.NewPCG(1, 1))
	codec := frame.NewCodecWithCompression(snappy.Compressor{})
	for _, version := range []primitive.ProtocolVersion{primitive.ProtocolVersion3, primitive.ProtocolVersion4} {
		write := func(m message.Message, change ...func(*frame.Frame)) {
			f := frame.NewFrame(version, int16(len(messages)), m)
			for _, c := range change {
				c(f)
			}
			var b bytes.Buffer
			if err := codec.EncodeFrame(f, &b); err != nil {
				t.Fatalf("%v: %v", m, err)
			}
			messages = append(messages, b.Bytes())
		}
		compressed := func(f *frame.Frame) { f.SetCompress(true) }
		// Only of a response: in the length of a request that is to be traced the encoder
		// counts the identifier that the response will have.
		traced := func(f *frame.Frame) { f.SetTracingId(&primitive.UUID{1, 2, 3}) }
		address := &primitive.Inet{Addr: net.IPv4(192, 0, 2, 1), Port: 9042}
		options := func(values ...[]byte) *message.QueryOptions {
			o := &message.QueryOptions{Consistency: primitive.ConsistencyLevelQuorum}
			for _, v := range values {
				o.PositionalValues = append(o.PositionalValues, primitive.NewValue(v))
			}
			return o
		}
		columns := []*message.ColumnMetadata{{Keyspace: "k", Table: "t", Name: "c", Type: datatype.Blob}}
		for _, m := range []message.Message{
			message.NewStartup("CQL_VERSION", "3.0.0"), &message.Options{}, &message.Ready{},
			&message.Supported{Options: map[string][]string{"COMPRESSION": {"lz4", "snappy"}}},
			&message.Authenticate{Authenticator: "PasswordAuthenticator"}, &message.AuthResponse{Token: payload(rng, 30)},
			&message.AuthChallenge{Token: payload(rng, 5)}, &message.AuthSuccess{}, &message.Register{EventTypes: []primitive.EventType{primitive.EventTypeStatusChange}},
			&message.StatusChangeEvent{ChangeType: primitive.StatusChangeTypeUp, Address: address},
			&message.TopologyChangeEvent{ChangeType: primitive.TopologyChangeTypeNewNode, Address: address},
			&message.Prepare{Query: "SELECT c FROM t"}, &message.Execute{QueryId: payload(rng, 16), Options: options(payload(rng, 3), nil)},
			&message.PreparedResult{PreparedQueryId: payload(rng, 16), ResultMetadata: &message.RowsMetadata{ColumnCount: 1, Columns: columns}},
			&message.Batch{Type: primitive.BatchTypeLogged, Children: []*message.BatchChild{{Query: "DELETE FROM t"}, {Id: payload(rng, 16)}}},
			&message.VoidResult{}, &message.SetKeyspaceResult{Keyspace: "k"},
			&message.SchemaChangeResult{ChangeType: primitive.SchemaChangeTypeCreated, Target: primitive.SchemaChangeTargetKeyspace, Keyspace: "k"},
			&message.ServerError{ErrorMessage: "no"}, &message.Unprepared{ErrorMessage: "no", Id: payload(rng, 16)},
		} {
			write(m)
		}
		write(&message.VoidResult{}, traced)
		for _, n := range sizes(rng, 1<<8, 1<<16, 1<<20) {
			write(&message.Query{Query: text(rng, n), Options: options()})
			rows := &message.RowsResult{
				Metadata: &message.RowsMetadata{ColumnCount: 1, Columns: columns},
				Data:     message.RowSet{{payload(rng, n)}, {nil}},
			}
			write(rows)
			write(rows, compressed)
		}
		write(&message.Query{Query: text(rng, 1<<24), Options: options()})
	}
	return messages
}
