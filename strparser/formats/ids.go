package formats

import (
	"encoding/binary"

	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// Where protocols have the number by which a reply finds its request.
var (
	// CQLIDs is the stream of a frame (CQL binary protocol, section 2.3). Negative ones
	// are the server's, for events.
	CQLIDs = both(strparser.IDField{Offset: 2, Width: 2, Max: 1<<15 - 1})
	// DNSIDs is the ID of a message (RFC 1035, section 4.1.1), which over TCP identifies
	// it (RFC 7766, section 7).
	DNSIDs = both(strparser.IDField{Offset: 2, Width: 2})
	// KafkaIDs is the correlation id (Kafka protocol guide, "Request Header" and
	// "Response Header"): in a request it stands behind the api's key and version. (A
	// broker answers in order anyway.)
	KafkaIDs = strparser.IDs{
		Request: strparser.IDField{Offset: 8, Width: 4},
		Reply:   strparser.IDField{Offset: 4, Width: 4},
	}
	// MemcacheBinaryIDs is the field opaque of a packet (memcached
	// doc/protocol-binary.txt, "Request header" and "Response header").
	MemcacheBinaryIDs = both(strparser.IDField{Offset: 12, Width: 4})
	// MongoDBIDs is requestID, which a reply has as responseTo (MongoDB wire protocol,
	// MsgHeader).
	MongoDBIDs = strparser.IDs{
		Request: strparser.IDField{Offset: 4, Width: 4, Order: binary.LittleEndian},
		Reply:   strparser.IDField{Offset: 8, Width: 4, Order: binary.LittleEndian},
	}
	// ThriftIDs is the sequence id of the binary protocol, strict or not (Thrift Binary
	// protocol encoding, "Message"), in the framed transport. The compact protocol has
	// numbers of variable width, which cannot be written in place.
	ThriftIDs = both(strparser.IDField{Width: 4, Find: thriftID})
)

func both(f strparser.IDField) strparser.IDs { return strparser.IDs{Request: f, Reply: f} }

// thriftID finds the sequence id behind the name. Strict messages begin with a version,
// whose first bit is 1, and the type; old ones have the type behind the name.
//
//	length (4) | 0x8001 0 type (4) | length of the name (4) | name | id (4)
//	length (4)                     | length of the name (4) | name | type (1) | id (4)
func thriftID(m *sgmsg.Message) (offset int, ok bool) {
	var h [12]byte
	n := m.CopyTo(h[:], 0)
	if n < 8 {
		return 0, false
	}
	first := binary.BigEndian.Uint32(h[4:])
	switch {
	case first>>31 == 0:
		return 8 + fit(uint64(first)) + 1, true
	case first>>16 != 0x8001 || n < 12:
		return 0, false
	}
	name := binary.BigEndian.Uint32(h[8:])
	return 12 + fit(uint64(name)), name>>31 == 0
}

// numbered is a format whose messages have a number. Formats that are a Length stay one,
// because the parser knows it: their numbers have to be named.
type numbered struct {
	strparser.ParseFunc
	ids *strparser.IDs
}

// IDs implements strparser.Correlated.
func (f numbered) IDs() strparser.IDs { return *f.ids }
