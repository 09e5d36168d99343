package recorded

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/wiremessage"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "MongoDB", f: formats.MongoDB,
		encoders:  []string{"go.mongodb.org/mongo-driver/v2/x/mongo/driver/wiremessage"},
		reference: "MongoDB wire protocol, Standard Message Header, OP_MSG, OP_COMPRESSED; OP_QUERY and OP_REPLY of old",
		messages:  mongoMessages,
		decoder: func(stream io.Reader) func() error {
			return func() error { return readMongo(stream) }
		},
	})
}

// readMongo reads a message with the driver's functions, an OP_MSG down to its documents.
func readMongo(r io.Reader) error {
	head := make([]byte, 16)
	if _, err := io.ReadFull(r, head); err != nil {
		return err
	}
	size, _, _, op, _, ok := wiremessage.ReadHeader(head)
	if !ok || int(size) < len(head) {
		return fmt.Errorf("a header of %x", head)
	}
	body := make([]byte, int(size)-len(head))
	if _, err := io.ReadFull(r, body); err != nil || op != wiremessage.OpMsg {
		return err
	}
	flags, body, ok := wiremessage.ReadMsgFlags(body)
	end := 0
	if flags&wiremessage.ChecksumPresent != 0 {
		end = 4
	}
	for ok && len(body) > end {
		var kind wiremessage.SectionType
		if kind, body, ok = wiremessage.ReadMsgSectionType(body); !ok {
			break
		}
		switch kind {
		case wiremessage.SingleDocument:
			_, body, ok = wiremessage.ReadMsgSectionSingleDocument(body)
		case wiremessage.DocumentSequence:
			_, _, body, ok = wiremessage.ReadMsgSectionDocumentSequence(body)
		default:
			ok = false
		}
	}
	if !ok || len(body) != end {
		return fmt.Errorf("%d bytes behind the sections, want %d", len(body), end)
	}
	return nil
}

// mongoMessages is commands and replies of many sizes, with sequences of documents, with
// a checksum, compressed, and the older kinds. Each is closed by one call.
func mongoMessages(t *testing.T) (messages [][]byte) {
	rng := rand.New(rand.NewPCG(1, 1))
	write := func(op wiremessage.OpCode, body func(b []byte) []byte) {
		at, b := wiremessage.AppendHeaderStart(nil, int32(len(messages)+1), int32(len(messages)/2), op)
		b = body(b)
		messages = append(messages, bsoncore.UpdateLength(b, at, int32(len(b))))
	}
	for _, n := range sizes(rng, 1<<8, 1<<16, 1<<20, 1<<24) {
		document := bsoncore.BuildDocument(nil,
			bsoncore.AppendStringElement(nil, "insert", "c"),
			bsoncore.AppendBinaryElement(nil, "b", 0, payload(rng, n)))
		small := bsoncore.BuildDocument(nil, bsoncore.AppendInt32Element(nil, "n", int32(n)))
		write(wiremessage.OpMsg, func(b []byte) []byte {
			b = wiremessage.AppendMsgFlags(b, 0)
			b = wiremessage.AppendMsgSectionType(b, wiremessage.SingleDocument)
			return append(b, document...)
		})
		if n > 1<<20 {
			continue
		}
		write(wiremessage.OpMsg, func(b []byte) []byte {
			b = wiremessage.AppendMsgFlags(b, wiremessage.ChecksumPresent)
			b = wiremessage.AppendMsgSectionType(b, wiremessage.SingleDocument)
			b = append(b, small...)
			b = wiremessage.AppendMsgSectionType(b, wiremessage.DocumentSequence)
			at, b := bsoncore.ReserveLength(b)
			b = append(b, "documents\x00"...)
			b = append(append(b, document...), small...)
			b = bsoncore.UpdateLength(b, at, int32(len(b))-at)
			return append(b, payload(rng, 4)...) // where the checksum stands
		})
		write(wiremessage.OpReply, func(b []byte) []byte {
			b = wiremessage.AppendReplyFlags(b, wiremessage.AwaitCapable)
			b = wiremessage.AppendReplyCursorID(b, int64(n))
			b = wiremessage.AppendReplyStartingFrom(b, 0)
			b = wiremessage.AppendReplyNumberReturned(b, 2)
			return append(append(b, small...), document...)
		})
		write(wiremessage.OpCompressed, func(b []byte) []byte {
			b = wiremessage.AppendCompressedOriginalOpCode(b, wiremessage.OpMsg)
			b = wiremessage.AppendCompressedUncompressedSize(b, int32(n))
			b = wiremessage.AppendCompressedCompressorID(b, wiremessage.CompressorNoOp)
			return wiremessage.AppendCompressedCompressedMessage(b, payload(rng, n))
		})
	}
	write(wiremessage.OpQuery, func(b []byte) []byte {
		b = wiremessage.AppendQueryFlags(b, wiremessage.SecondaryOK)
		b = wiremessage.AppendQueryFullCollectionName(b, "admin.$cmd")
		b = wiremessage.AppendQueryNumberToSkip(b, 0)
		b = wiremessage.AppendQueryNumberToReturn(b, -1)
		return append(b, bsoncore.BuildDocument(nil, bsoncore.AppendInt32Element(nil, "isMaster", 1))...)
	})
	write(wiremessage.OpKillCursors, func(b []byte) []byte {
		b = wiremessage.AppendKillCursorsZero(b)
		b = wiremessage.AppendKillCursorsNumberIDs(b, 2)
		return wiremessage.AppendKillCursorsCursorIDs(b, []int64{1, 2})
	})
	return messages
}
