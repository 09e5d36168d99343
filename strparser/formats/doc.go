// Package formats has the framing of protocols in use: each is a [strparser.Format] that
// finds where a message ends, and nothing else. What a message means, and whether it is
// well formed behind its framing, is for its consumer.
//
//	m, err := mux.New(mux.Options{Format: formats.RESP})
//
//	format        messages are                               reference
//	AMQP          frames, and the protocol header            AMQP 0-9-1, sections 2.3.5, 4.2.2
//	BGP           messages                                   RFC 4271, section 4.1; RFC 8654
//	CQL           frames                                     CQL binary protocol v3 and v4, section 2
//	DNS           messages over TCP                          RFC 1035, section 4.2.2; RFC 7766
//	HTTP2         frames, and the client's preface           RFC 9113, sections 3.4, 4.1
//	Kafka         requests or responses                      Kafka protocol guide, "Size"
//	MemcacheText  requests of the text protocol              memcached doc/protocol.txt
//	MemcacheReply replies of the same
//	MemcacheBinary packets                                   memcached doc/protocol-binary.txt
//	MongoDB       wire messages                              MongoDB wire protocol, MsgHeader
//	MQTT          control packets                            MQTT 5.0, section 2.1; 3.1.1 likewise
//	MySQL         packets                                    MySQL client/server protocol, "Packets"
//	Netstring     netstrings                                 D. J. Bernstein, Netstrings (1997)
//	Postgres      messages of a client                       PostgreSQL protocol 3, "Message Formats"
//	PostgresReply messages of a server
//	Protobuf      length-delimited messages                  Protocol Buffers, "Streaming Multiple Messages"
//	RESP          commands or replies, RESP2 and RESP3       Redis serialization protocol specification
//	Thrift        framed messages                            Apache Thrift, TFramedTransport
//	TLS           records                                    RFC 8446, section 5.1
//	WebSocket     frames                                     RFC 6455, section 5.2
//	Lines         lines that end with \n
//	Delimited     what ends with a delimiter of yours
//
// A message includes its header, and its trailer or delimiter. Where a message's end follows
// from a length, what stands there (the comma of a netstring, AMQP's frame end, \r\n behind
// a block of data) is not looked at: its consumer may. A length that cannot be
// right is EPROTO (for most formats an error that says which), one over the parser's
// maximum EMSGSIZE.
//
// Formats whose messages have a length in front can write it (PutHeader); those that end
// with something cannot, and PutHeader fails with errors.ErrUnsupported.
//
// The time that finding a message's end takes is proportional to its bytes, however it is
// cut into chunks: formats without a length in front keep their place in the view's
// cookie. None allocates.
//
// Protocols that number requests so that replies may come in any order have their numbers'
// place here too: CQLIDs, DNSIDs, KafkaIDs, MemcacheBinaryIDs, MongoDBIDs, ThriftIDs. HTTP/2
// has streams in place of numbers.
//
// Where PutHeader cannot, an answer is made whole:
//
//	m.Handle(func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
//		reply := []byte("+OK\r\n")
//		var out sgmsg.Message
//		if err := out.AppendCopy(from.Loop(), reply, len(reply)); err != nil {
//			return mux.End
//		}
//		from.Send(&out)
//		return mux.Done
//	})
//
// # Where the bytes of the tests come from
//
// From the protocols' own encoders: client and server libraries, memcached, Redis, and for TLS,
// HTTP/2 and lines Go's. The module in recorded, which nobody depends on, has them encode
// messages of each size class of the length field and checks that the format finds these
// and no others. What it writes to testdata is part of that, as text that names encoder,
// version and reference, and is read by the tests of this package. A few streams are
// written by hand, from the references: what no encoder at hand makes, and what has to be
// refused.
//
// # What the package does not do
//
// It does not join what protocols split above their framing: TLS messages over several
// records, WebSocket or HTTP/2 messages over several frames, MySQL payloads over several
// packets. It does not follow a change of protocol on a connection (STARTTLS, Upgrade):
// decline the message then (strparser.ErrDecline) and detach the connection.
package formats
