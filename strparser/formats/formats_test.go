package formats_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
	"github.com/kcm-go/kcm/strparser/formats"
	"github.com/kcm-go/kcm/strparser/internal/feed"
)

// semicolons is a delimiter that overlaps with itself.
var semicolons, _ = formats.Delimited(";;;")

// all is every format, by name.
var all = []struct {
	name string
	f    strparser.Format
}{
	{"AMQP", formats.AMQP}, {"BGP", formats.BGP}, {"CQL", formats.CQL}, {"DNS", formats.DNS}, {"HTTP2", formats.HTTP2},
	{"Kafka", formats.Kafka}, {"MemcacheText", formats.MemcacheText}, {"MemcacheReply", formats.MemcacheReply},
	{"MemcacheBinary", formats.MemcacheBinary}, {"MongoDB", formats.MongoDB}, {"MQTT", formats.MQTT}, {"MySQL", formats.MySQL},
	{"Netstring", formats.Netstring}, {"Postgres", formats.Postgres}, {"PostgresReply", formats.PostgresReply},
	{"Protobuf", formats.Protobuf}, {"RESP", formats.RESP}, {"Thrift", formats.Thrift}, {"TLS", formats.TLS},
	{"WebSocket", formats.WebSocket}, {"Lines", formats.Lines}, {"Delimited", semicolons},
}

func format(t testing.TB, name string) strparser.Format {
	for _, x := range all {
		if x.name == name {
			return x.f
		}
	}
	t.Fatalf("no format %s", name)
	return nil
}

// hexed is bytes in hexadecimal, with spaces.
func hexed(s string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return string(b)
}

var ones = strings.Repeat("\xff", 16)

// streams are messages of each protocol, one string each, written by hand from the
// references. What encoders make is in testdata: see TestRecorded.
var streams = []struct {
	format   string
	messages []string
}{
	{"AMQP", []string{
		"AMQP\x00\x00\x09\x01", // the protocol header
		hexed("01 0000 00000005 000a000b00 ce"),
		hexed("08 0000 00000000 ce"), // a heartbeat
		"AMQP\x00\x00\x09\x01",
	}},
	{"BGP", []string{
		ones + hexed("0013 04"),                          // KEEPALIVE
		ones + hexed("001d 01 04 fc00 00b4 0a000001 00"), // OPEN
		ones + hexed("0017 02 0000 0000"),                // UPDATE, end of RIB
		ones + hexed("0015 03 0602"),                     // NOTIFICATION
	}},
	{"CQL", []string{
		hexed("04 00 0000 01 00000016 0001 000b") + "CQL_VERSION" + hexed("0005") + "3.0.0",
		hexed("84 00 0000 02 00000000"), // READY
		hexed("03 00 0001 05 00000000"), // OPTIONS
	}},
	{"DNS", []string{
		hexed("001d abcd 0100 0001 0000 0000 0000 07") + "example" + hexed("03") + "com" + hexed("00 0001 0001"),
		hexed("0000"),
	}},
	{"HTTP2", []string{
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		hexed("000006 04 00 00000000 0003 00000064"), // SETTINGS
		hexed("000000 04 01 00000000"),               // its acknowledgement
		hexed("000008 06 00 00000000") + "12345678",  // PING
	}},
	{"Kafka", []string{hexed("0000000a 0012 0000 00000001 ffff"), hexed("00000004 00000001")}},
	{"MemcacheText", []string{
		"get a b c\r\n", "set key 0 900 5\r\nhel\n\r\r\n", "set k 0 0 0\r\n\r\n", "cas k 1 2 3 77 noreply\r\nabc\r\n", "mg k v\r\n", "ms k 2 T0\r\nhi\r\n",
		"delete settle\r\n", "version\r\n",
	}},
	{"MemcacheReply", []string{"VALUE key 0 5\r\nhel\n\r\r\n", "VALUE k 0 0 8\r\n\r\n", "END\r\n", "VA 2 t1\r\nhi\r\n", "HD\r\n", "STORED\r\n", "SERVER_ERROR out of memory\r\n"}},
	{"MemcacheBinary", []string{
		hexed("80 00 0005 00 00 0000 00000005 00000000 0000000000000000") + "Hello", // get
		hexed("81 00 0000 04 00 0000 00000009 00000000 0000000000000001 deadbeef") + "World",
	}},
	{"MongoDB", []string{hexed("10000000 01000000 00000000 dd070000"), hexed("15000000 02000000 00000000 dd070000 0000000000")}},
	{"MQTT", []string{
		hexed("10 0c 0004") + "MQTT" + hexed("05 02 003c 00 00"), // CONNECT: 12 bytes follow
		hexed("c0 00"), // PINGREQ
		hexed("30 8001") + strings.Repeat("x", 128), // PUBLISH
		hexed("30 808001") + strings.Repeat("y", 16384),
	}},
	{"MySQL", []string{hexed("010000 00 0e"), hexed("000000 01"), hexed("000100 00") + strings.Repeat("z", 256)}},
	{"Netstring", []string{"12:hello world!,", "0:,", "3:a,b,"}},
	{"Postgres", []string{
		hexed("00000008 04d2162f"),                                      // SSLRequest
		hexed("00000010 00030000") + "user\x00x\x00\x00",                // startup
		hexed("00002714 00030000") + strings.Repeat("u", 9995) + "\x00", // the longest: 10000 bytes behind the length
		"p" + hexed("00000008") + "abc\x00", "Q" + hexed("0000000d") + "SELECT 1\x00", "S" + hexed("00000004"), "X" + hexed("00000004"),
	}},
	{"PostgresReply", []string{"R" + hexed("00000008 00000000"), "1" + hexed("00000004"), "Z" + hexed("00000005") + "I", "C" + hexed("0000000d") + "SELECT 1\x00"}},
	{"Protobuf", []string{hexed("00"), hexed("03 08 96 01"), hexed("8001") + strings.Repeat("p", 128)}},
	{"RESP", []string{
		"+OK\r\n", "-ERR unknown\r\n", ":1000\r\n", "$5\r\nhel\n\r\r\n", "$0\r\n\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n",
		"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
		"*3\r\n:1\r\n*2\r\n+a\r\n*1\r\n*0\r\n$1\r\nx\r\n",
		"_\r\n", "#t\r\n", ",3.14\r\n", "(349234923849\r\n", "!5\r\nERR x\r\n", "=7\r\ntxt:abc\r\n",
		"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n", "~2\r\n+a\r\n+b\r\n", ">2\r\n+message\r\n+hi\r\n",
		"|1\r\n+ttl\r\n:3600\r\n*1\r\n$1\r\nv\r\n", "*3\r\n:1\r\n:2\r\n|1\r\n+ttl\r\n:3600\r\n:3\r\n",
		"$?\r\n;4\r\nHell\r\n;1\r\no\r\n;0\r\n",
		"*2\r\n$?\r\n;1\r\nx\r\n;0\r\n:1\r\n",
		"PING\r\n", "SET k v\n",
	}},
	{"Thrift", []string{hexed("00000005") + "abcde", hexed("00000000")}},
	{"TLS", []string{
		hexed("16 0301 0005 0100000100"), hexed("14 0303 0001 01"), hexed("17 0303 0000"), hexed("15 0303 0002 0100"),
	}},
	{"WebSocket", []string{
		hexed("81 05 48656c6c6f"),                  // RFC 6455, section 5.7: a single frame, unmasked
		hexed("81 85 37fa213d 7f9f4d5158"),         // masked
		hexed("01 03 48656c"), hexed("80 02 6c6f"), // in fragments
		hexed("89 05 48656c6c6f"), hexed("8a 85 37fa213d 7f9f4d5158"), // ping, pong
		hexed("82 7e 0100") + strings.Repeat("w", 256),
		hexed("82 7f 0000000000010000") + strings.Repeat("W", 65536),
	}},
	{"Lines", []string{"\n", "a line\r\n", "another\n"}},
	{"Delimited", []string{";;;", "a;b;;;", ";;;"}},
}

// Each message is found where it is, however the stream is cut.
func TestStreams(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	seen := map[string]bool{}
	for _, s := range streams {
		seen[s.format] = true
		f := format(t, s.format)
		stream := []byte(strings.Join(s.messages, ""))
		cuts := [][][]byte{{stream}, feed.Bytes(stream, 1), feed.Bytes(stream, 7)}
		for range 50 {
			cuts = append(cuts, feed.Cut(rng, stream))
		}
		for i, chunks := range cuts {
			r := feed.Run(t, f, 1<<20, chunks...)
			if r.Err != nil || r.Left != 0 {
				t.Fatalf("%s, cut %d: %d bytes left, %v after %q", s.format, i, r.Left, r.Err, r.Messages)
			}
			var got []string
			for _, m := range r.Messages {
				got = append(got, string(m))
			}
			if !slices.Equal(got, s.messages) {
				t.Fatalf("%s, cut %d: %q\nwant %q", s.format, i, got, s.messages)
			}
		}
	}
	for _, x := range all {
		if !seen[x.name] {
			t.Errorf("no stream of %s", x.name)
		}
	}
}

// What is not the protocol is refused, as soon as that can be told, by an error that
// says what is wrong.
func TestRefused(t *testing.T) {
	for _, tc := range []struct{ format, stream, want string }{
		{"AMQP", "AMQX", "AMQP: a protocol header with"},
		{"AMQP", hexed("09 0000 00000000"), "frame type 9"},
		{"BGP", ones[1:] + hexed("00 0013 04"), "byte 15 of the marker is 0x0"},
		{"BGP", ones + hexed("0012 04"), "18 bytes, shorter than its header"},
		{"CQL", hexed("05 00 0000 01 00000000"), "version 5"},
		{"CQL", hexed("04 00 0000 01 ffffffff"), "a body of -1"},
		{"HTTP2", "PRI * HTTP/1.1\r\n\r\n", "a preface with"},
		{"MemcacheText", "set k 0 0 x\r\n", `a data block of "x" bytes`},
		{"MemcacheText", "set k\r\n", "a set without the length"},
		{"MemcacheText", "set " + strings.Repeat("k", 3000) + " 0 0 1\r\n", "a line of 3"},
		{"MemcacheText", "set k 0 0 99999999999999999999\r\n", "a data block of"},
		{"MemcacheBinary", hexed("82") + strings.Repeat("\x00", 23), "magic byte 0x82"},
		{"MemcacheBinary", hexed("80 00 0005 00 00 0000 00000004") + strings.Repeat("\x00", 12), "a body of 4 bytes with a key of 5"},
		{"MongoDB", hexed("03000000"), "shorter than its 4-byte header"},
		{"MQTT", hexed("00 00"), "type 0"},
		{"MQTT", hexed("30 80808080"), "more than four bytes"},
		{"Netstring", "01:a,", "begins with 0"},
		{"Netstring", ":,", `':' in the length`},
		{"Netstring", strings.Repeat("1", 19), "over 18 digits"},
		{"Netstring", "5 :", `' ' in the length`},
		{"Postgres", hexed("00000007 00000000"), "7 bytes, want 8 to 10004"},
		{"Postgres", hexed("00002715 00030000"), "10005 bytes, want 8 to 10004"},
		{"Postgres", "\x7f\x00\x00\x00\x04", "message type 0x7f"},
		{"PostgresReply", "S\x00\x00\x00\x03", "3 bytes"},
		{"PostgresReply", "\x00", "message type 0x0"},
		{"Protobuf", strings.Repeat("\x80", 10), "more than 64 bits"},
		{"Protobuf", strings.Repeat("\xff", 9) + "\x02", "more than 64 bits"},
		{"RESP", "$x\r\n", `a length of "x"`},
		{"RESP", "$-2\r\n", `a length of "-2"`},
		{"RESP", "*99999999999999999\r\n", "a length of"},
		{"RESP", "*1\r\nPING\r\n", "a value of type 'P'"},
		{"RESP", "*?\r\n", `a length of "?"`},
		{"RESP", "$5\n", "want a length"},
		{"RESP", "$?\r\n+a\r\n", "in a streamed string"},
		{"TLS", "GET / HTTP/1.1\r\n", "content type 71"},
		{"TLS", hexed("16 0203 0000"), "version 2.3"},
		{"TLS", hexed("16 0303 4801"), "a record of 18433"},
		{"WebSocket", hexed("09 00"), "a control frame"},
		{"WebSocket", hexed("89 7e 0100"), "a control frame"},
		{"WebSocket", hexed("82 7f ffffffffffffffff"), "whose first bit"},
	} {
		for _, n := range []int{1 << 20, 1} {
			r := feed.Run(t, format(t, tc.format), 1<<20, feed.Bytes([]byte(tc.stream), n)...)
			if !errors.Is(r.Err, syscall.EPROTO) || !strings.Contains(r.Err.Error(), tc.want) {
				t.Errorf("%s %q, chunks of %d: %v after %q, want EPROTO with %q", tc.format, tc.stream, n, r.Err, r.Messages, tc.want)
			}
		}
	}
	// What is too long is told by the parser, and no length overflows.
	for name, stream := range map[string]string{
		"Thrift": hexed("ffffffff"), "Kafka": hexed("7fffffff"), "MongoDB": hexed("ffffffff"), "MQTT": hexed("30 ffffff7f"),
		"Protobuf": strings.Repeat("\xff", 9) + "\x01", "WebSocket": hexed("82 ff 7fffffffffffffff"), "RESP": "$2147483647\r\n",
		"Netstring": "999999999999999999:", "CQL": hexed("04 00 0000 01 7fffffff"), "Lines": strings.Repeat("x", 1<<16+1),
		"Delimited": strings.Repeat(";", 2) + strings.Repeat("x", 1<<16),
	} {
		if r := feed.Run(t, format(t, name), 1<<16, feed.Bytes([]byte(stream), 100)...); !errors.Is(r.Err, syscall.EMSGSIZE) {
			t.Errorf("%s: %v, want EMSGSIZE", name, r.Err)
		}
	}
}

func TestDelimitersThatAreRefused(t *testing.T) {
	for _, by := range []string{"", strings.Repeat("x", 17)} {
		if _, err := formats.Delimited(by); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%q: %v", by, err)
		}
	}
}

// Formats with their length in front write what they parse.
func TestPutHeader(t *testing.T) {
	for _, name := range []string{"Thrift", "DNS", "Kafka", "MongoDB", "MySQL", "Protobuf"} {
		f := format(t, name)
		for _, n := range []int{1, 5, 127, 128, 300, 20000} {
			head := make([]byte, f.HeaderLen())
			k, err := f.PutHeader(head, n)
			if err != nil {
				t.Errorf("%s, %d: %v", name, n, err)
				continue
			}
			r := feed.Run(t, f, 1<<20, append(head[:k:k], make([]byte, n)...))
			if r.Err != nil || len(r.Messages) != 1 || len(r.Messages[0]) != k+n || r.Left != 0 {
				t.Errorf("%s: a header of %d bytes for %d: %d, %v", name, k, n, r.Lens(), r.Err)
			}
		}
	}
	if _, err := formats.Protobuf.PutHeader(make([]byte, 3), 1); err == nil {
		t.Error("a varint into 3 bytes")
	}
	if _, err := formats.Protobuf.PutHeader(make([]byte, 10), -1); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("a varint of -1: %v", err)
	}
	if _, err := formats.RESP.PutHeader(nil, 1); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a header of RESP: %v", err)
	}
}

// hostile are streams that are expensive if something is looked at again and again.
var hostile = map[string]func(n int) []byte{
	"RESP":         func(n int) []byte { return []byte(strings.Repeat("*2\r\n", n/4)) },
	"Lines":        func(n int) []byte { return []byte(strings.Repeat("x", n)) },
	"Delimited":    func(n int) []byte { return []byte(strings.Repeat(";;x", n/3)) },
	"MemcacheText": func(n int) []byte { return []byte("get " + strings.Repeat("k ", n/2)) },
}

// Twice the bytes take twice the time, within a fifth; a quadratic format takes four
// times.
func TestTimeIsProportional(t *testing.T) {
	const n = 1 << 16
	heap := sgmsg.NewHeap(8 << 20)
	for name := range hostile {
		for _, chunk := range []int{64, 4096} {
			// The shortest times of 5 to 100 rounds: the machine does other things, too. What
			// takes long is not disturbed by them.
			small, large := time.Hour, time.Hour
			for round := 0; round < 100 && (round == 0 || large < 100*time.Millisecond); round++ {
				small = min(small, parseTime(t, heap, format(t, name), hostile[name](n), chunk))
				large = min(large, parseTime(t, heap, format(t, name), hostile[name](2*n), chunk))
				if round >= 4 && large*10 <= small*24 {
					break
				}
			}
			if large*10 > small*24 {
				t.Errorf("%s in chunks of %d: %v for %d bytes, %v for %d", name, chunk, small, n, large, 2*n)
			}
		}
	}
}

// parseTime is how long a parser takes for a stream in chunks that lie in memory already.
func parseTime(t *testing.T, heap *sgmsg.Arena, f strparser.Format, stream []byte, chunk int) (took time.Duration) {
	p, err := strparser.New(nil, strparser.Options{
		Format: f, MaxMessage: 1 << 30, Alloc: heap, Message: func(*strparser.Parser, *sgmsg.Message) {},
		Lock: func(*strparser.Parser) {}, Unlock: func(*strparser.Parser) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	var chunks []sgmsg.Element
	for _, b := range feed.Bytes(stream, chunk) {
		e, err := heap.Alloc(len(b))
		if err != nil {
			t.Fatal(err)
		}
		copy(e.Bytes(), b)
		chunks = append(chunks, e)
	}
	start := time.Now()
	for _, e := range chunks {
		if _, err := p.Process(e, 0, 0); err != nil {
			break // some of the streams are refused at their end
		}
	}
	took = time.Since(start)
	for _, e := range chunks {
		e.Buf.Release()
	}
	p.Stop()
	p.Done()
	return took
}

// No format allocates, however its messages are cut: what a run allocates is the same for
// one message and for many.
func TestFormatsAllocateNothing(t *testing.T) {
	if invariants.Enabled || invariants.Race {
		t.Skip("the checks of this build allocate")
	}
	for _, s := range streams {
		allocatesNothing(t, s.format, format(t, s.format), strings.Join(s.messages, ""))
	}
	for _, name := range recordings(t) {
		allocatesNothing(t, name, recordedFormat(t, name), string(bytes.Join(recording(t, name).Messages, nil)))
	}
}

func allocatesNothing(t *testing.T, name string, f strparser.Format, stream string) {
	heap := sgmsg.NewHeap(8 << 20)
	messages := 0
	p, err := strparser.New(nil, strparser.Options{
		Format: f, Alloc: heap, Message: func(*strparser.Parser, *sgmsg.Message) { messages++ },
		Lock: func(*strparser.Parser) {}, Unlock: func(*strparser.Parser) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := heap.Alloc(len(stream))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	copy(e.Bytes(), stream)
	run := func() {
		for at := 0; at < len(stream); at += 100 {
			c := e
			c.Off += uint32(at)
			c.Len = uint32(min(100, len(stream)-at))
			if _, err := p.Process(c, 0, 0); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	if n := testing.AllocsPerRun(5, run); n > 0 || messages == 0 {
		t.Errorf("%s: %v allocations for %d bytes, %d messages in all", name, n, len(stream), messages)
	}
	e.Buf.Release()
	p.Stop()
	p.Done()
}

// Any bytes, cut anywhere, give the same messages; none panics. The first byte says which
// format.
func FuzzFormats(f *testing.F) {
	add := func(name, stream string) {
		name, _, _ = strings.Cut(name, "-")
		for i, x := range all {
			if x.name == name && len(stream) < 4096 {
				f.Add(append([]byte{byte(i)}, stream...), uint64(1))
			}
		}
	}
	for _, s := range streams {
		add(s.format, strings.Join(s.messages, ""))
	}
	for _, name := range recordings(f) {
		for three := range slices.Chunk(recording(f, name).Messages, 3) {
			add(name, string(bytes.Join(three, nil)))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		if len(data) == 0 || len(data) > 1<<16 {
			return
		}
		x := all[int(data[0])%len(all)]
		data = data[1:]
		whole := feed.Run(t, x.f, 1<<15, data)
		rng := rand.New(rand.NewPCG(seed, 1))
		cut := feed.Run(t, x.f, 1<<15, feed.Cut(rng, data)...)
		if !whole.Equal(cut) {
			t.Errorf("%s: in one piece %d messages, %d left, %v; cut %d, %d, %v", x.name,
				len(whole.Messages), whole.Left, whole.Err, len(cut.Messages), cut.Left, cut.Err)
		}
	})
}
