package formats

import (
	"encoding/binary"

	"github.com/kcm-go/kcm/strparser"
)

// Formats that are a length field and nothing else. The parser recognises them and needs
// no call for a message.
var (
	// Thrift is the framed transport of Apache Thrift (TFramedTransport): 4 bytes of
	// length, then the message.
	Thrift = strparser.Length32
	// DNS is messages over TCP (RFC 1035, section 4.2.2): 2 bytes of length, then the
	// message.
	DNS = strparser.Length16
	// Kafka is requests or responses (Kafka protocol guide, "Size"): 4 bytes of length,
	// then the message.
	Kafka = strparser.Length32
	// MongoDB is wire messages (MongoDB wire protocol, MsgHeader): their first 4 bytes,
	// little endian, are the length of all, these included.
	MongoDB = strparser.Length{Width: 4, Order: binary.LittleEndian, Inclusive: true}
	// MySQL is packets (MySQL client/server protocol, "Packets"): 3 bytes of length,
	// little endian, a sequence number, then the payload. What PutHeader counts as payload
	// begins with the sequence number.
	MySQL = strparser.Length{Width: 3, Order: binary.LittleEndian, Adjust: 1}
)

// Formats with a header of fixed length that has more in it than a length.
var (
	// AMQP is the frames of AMQP 0-9-1 (section 2.3.5), and the protocol header (section
	// 4.2.2) that a client begins with and a server may answer with.
	AMQP strparser.Format = strparser.ParseFunc(amqp)
	// BGP is the messages of BGP-4 (RFC 4271, section 4.1): up to 4096 bytes, 65535 with
	// RFC 8654.
	BGP strparser.Format = strparser.ParseFunc(bgp)
	// CQL is the frames of Cassandra's protocol (CQL binary protocol, section 2), versions
	// 3 and 4. (Version 5 wraps them in segments once a connection is set up.)
	CQL strparser.Format = numbered{cql, &CQLIDs}
	// HTTP2 is frames of HTTP/2 (RFC 9113, section 4.1), in either direction, and the
	// preface of a client (section 3.4).
	HTTP2 strparser.Format = strparser.ParseFunc(http2)
	// MemcacheBinary is packets of memcached's binary protocol (memcached
	// doc/protocol-binary.txt).
	MemcacheBinary strparser.Format = numbered{memcacheBinary, &MemcacheBinaryIDs}
	// Postgres is what a client of PostgreSQL sends (PostgreSQL protocol 3, "Message
	// Formats"), from the startup packet (or the request for encryption before it) on.
	Postgres strparser.Format = strparser.ParseFunc(postgres)
	// PostgresReply is what a PostgreSQL server sends (in the same protocol). Its answer
	// to a request for encryption, a single byte, has no frame and is not for this format.
	PostgresReply strparser.Format = strparser.ParseFunc(postgresReply)
	// TLS is records of SSL 3.0 to TLS 1.3 (RFC 8446, section 5.1). A stream that begins
	// otherwise is no TLS.
	TLS strparser.Format = strparser.ParseFunc(tls)
	// WebSocket is frames (RFC 6455, section 5.2), in either direction, after the
	// handshake.
	WebSocket strparser.Format = strparser.ParseFunc(webSocket)
)

// maxTLS is the longest record: RFC 5246 lets compression and encryption add 2048 bytes
// to 2^14.
const maxTLS = 1<<14 + 2048

func tls(v *strparser.View) (int, error) {
	var h [5]byte
	if v.CopyTo(h[:], 0) < len(h) {
		return 0, nil
	}
	n := int(binary.BigEndian.Uint16(h[3:]))
	switch {
	case h[0] < 20 || h[0] > 24:
		return 0, bad("TLS", "content type %d, want 20 to 24", h[0])
	case h[1] != 3:
		return 0, bad("TLS", "version %d.%d, want 3.x", h[1], h[2])
	case n > maxTLS:
		return 0, bad("TLS", "a record of %d bytes, want at most %d", n, maxTLS)
	}
	return len(h) + n, nil
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// http2 tells the preface from a frame by its first three bytes, which would be the
// length of a frame of 5 MB. SETTINGS_MAX_FRAME_SIZE may be that large, but a frame of
// just that length, type 0x20 and these flags is none.
func http2(v *strparser.View) (int, error) {
	var h [len(preface)]byte
	n := v.CopyTo(h[:], 0)
	if n >= 4 && string(h[:4]) == preface[:4] {
		switch {
		case string(h[:n]) != preface[:n]:
			return 0, bad("HTTP/2", "a preface with % x in it", string(h[:n]))
		case n < len(preface):
			return 0, nil
		}
		return len(preface), nil
	}
	if n < 9 {
		return 0, nil
	}
	return 9 + (int(h[0])<<16 | int(h[1])<<8 | int(h[2])), nil
}

// The header of a BGP message: 16 bytes of ones, the length of all, the type.
const bgpHeader = 19

func bgp(v *strparser.View) (int, error) {
	var h [bgpHeader]byte
	if v.CopyTo(h[:], 0) < len(h) {
		return 0, nil
	}
	for i, x := range h[:16] {
		if x != 0xff {
			return 0, bad("BGP", "byte %d of the marker is %#x, want 0xff", i, x)
		}
	}
	n := int(binary.BigEndian.Uint16(h[16:]))
	if n < bgpHeader {
		return 0, bad("BGP", "a message of %d bytes, shorter than its header", n)
	}
	return n, nil
}

func cql(v *strparser.View) (int, error) {
	var h [9]byte
	if v.CopyTo(h[:], 0) < len(h) {
		return 0, nil
	}
	if version := h[0] & 0x7f; version != 3 && version != 4 {
		return 0, bad("CQL", "protocol version %d, want 3 or 4", version)
	}
	n := binary.BigEndian.Uint32(h[5:])
	if n > 1<<31-1 {
		return 0, bad("CQL", "a body of %d bytes", int32(n))
	}
	return len(h) + int(n), nil
}

func memcacheBinary(v *strparser.View) (int, error) {
	var h [24]byte
	if v.CopyTo(h[:], 0) < len(h) {
		return 0, nil
	}
	if h[0] != 0x80 && h[0] != 0x81 {
		return 0, bad("memcached", "magic byte %#x, want 0x80 or 0x81", h[0])
	}
	key, extras, n := binary.BigEndian.Uint16(h[2:]), h[4], binary.BigEndian.Uint32(h[8:])
	if uint32(key)+uint32(extras) > n {
		return 0, bad("memcached", "a body of %d bytes with a key of %d and extras of %d", n, key, extras)
	}
	return len(h) + int(n), nil
}

// The protocol header of AMQP: "AMQP", 0 and the version. Frame: type, channel (2),
// length of the payload (4), payload, 0xCE.
func amqp(v *strparser.View) (int, error) {
	var h [8]byte
	n := v.CopyTo(h[:], 0)
	if n > 0 && h[0] == 'A' {
		switch known := min(n, 4); {
		case string(h[:known]) != "AMQP"[:known]:
			return 0, bad("AMQP", "a protocol header with % x in it", string(h[:n]))
		case n < 8:
			return 0, nil
		}
		return 8, nil
	}
	if n < 7 {
		return 0, nil
	}
	if h[0] == 0 || h[0] > 8 { // 1 method, 2 header, 3 body, 8 heartbeat; 4 in older drafts
		return 0, bad("AMQP", "frame type %d", h[0])
	}
	return 7 + int(binary.BigEndian.Uint32(h[3:])) + 1, nil
}

// A message of a PostgreSQL client is a type, the length of what follows the type (4),
// and that; a startup packet, a request to cancel or to encrypt has no type. It is the
// first byte that tells: types are letters, and a length that begins with one is over a
// gigabyte.
func postgres(v *strparser.View) (int, error) {
	var h [8]byte
	n := v.CopyTo(h[:], 0)
	if n == 0 || h[0] != 0 {
		return typed(h[:n])
	}
	if n < 8 {
		return 0, nil
	}
	size := binary.BigEndian.Uint32(h[:])
	if size < 8 || size > maxStartup {
		return 0, bad("PostgreSQL", "a startup packet of %d bytes, want 8 to %d", size, maxStartup)
	}
	return int(size), nil
}

// maxStartup is the longest startup packet: MAX_STARTUP_PACKET_LENGTH of libpq/pqcomm.h,
// which the length's own 4 bytes do not count against.
const maxStartup = 4 + 10000

func postgresReply(v *strparser.View) (int, error) {
	var h [5]byte
	return typed(h[:v.CopyTo(h[:], 0)])
}

// typed is a message of PostgreSQL with a type, of which h is the beginning.
func typed(h []byte) (int, error) {
	if len(h) > 0 && (h[0]|0x20 < 'a' || h[0]|0x20 > 'z') && (h[0] < '1' || h[0] > '3') {
		return 0, bad("PostgreSQL", "message type %#x, want a letter", h[0])
	}
	if len(h) < 5 {
		return 0, nil
	}
	size := binary.BigEndian.Uint32(h[1:])
	if size < 4 || size > 1<<30 {
		return 0, bad("PostgreSQL", "a message of type %q and %d bytes", h[0], size)
	}
	return 1 + int(size), nil
}

func webSocket(v *strparser.View) (int, error) {
	var h [10]byte
	n := v.CopyTo(h[:], 0)
	if n < 2 {
		return 0, nil
	}
	header, size := 2, uint64(h[1]&0x7f)
	control := h[0]&0x08 != 0
	switch {
	case control && (size > 125 || h[0]&0x80 == 0):
		return 0, bad("WebSocket", "a control frame that is in pieces or longer than 125 bytes")
	case size == 126:
		if header = 4; n < header {
			return 0, nil
		}
		size = uint64(binary.BigEndian.Uint16(h[2:]))
	case size == 127:
		if header = 10; n < header {
			return 0, nil
		}
		if size = binary.BigEndian.Uint64(h[2:]); size > 1<<63-1 {
			return 0, bad("WebSocket", "a length of %#x, whose first bit is to be 0", size)
		}
	}
	if h[1]&0x80 != 0 { // masked
		header += 4
	}
	return fit(size + uint64(header)), nil
}
