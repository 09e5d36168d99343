package recorded

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/alicebob/miniredis/v2"
	"github.com/mediocregopher/radix/v4/resp"
	"github.com/mediocregopher/radix/v4/resp/resp3"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "RESP", f: formats.RESP,
		encoders:  []string{"github.com/redis/go-redis/v9", "github.com/alicebob/miniredis/v2", "github.com/mediocregopher/radix/v4/resp/resp3"},
		reference: "Redis serialization protocol specification; RESP3 specification (streamed strings, attributes)",
		messages: func(t *testing.T) [][]byte {
			messages := respValues(t)
			for _, version := range []int{2, 3} {
				messages = append(messages, redisTalk(t, version)...)
			}
			return messages
		},
		decoder: func(stream io.Reader) func() error {
			b := bufio.NewReader(stream)
			return func() error { return readRESP(b) }
		},
	})
}

// readRESP reads a value as radix does. That the value is an error is none.
func readRESP(b *bufio.Reader) error {
	err := resp3.Unmarshal(b, nil, resp.NewOpts())
	if errors.As(err, new(resp3.SimpleError)) || errors.As(err, new(resp3.BlobError)) {
		return nil
	}
	return err
}

// respValues is values of all types of RESP3, some of them in others, as radix encodes
// them.
func respValues(t *testing.T) (messages [][]byte) {
	rng := rand.New(rand.NewPCG(1, 1))
	write := func(parts ...resp.Marshaler) {
		var b bytes.Buffer
		for _, p := range parts {
			if err := p.MarshalRESP(&b, resp.NewOpts()); err != nil {
				t.Fatal(err)
			}
		}
		messages = append(messages, b.Bytes())
	}
	one, text := resp3.Number{N: 1}, resp3.SimpleString{S: "a"}
	attribute := []resp.Marshaler{resp3.AttributeHeader{NumPairs: 1}, resp3.SimpleString{S: "ttl"}, resp3.Number{N: 3600}}
	huge, _ := new(big.Int).SetString("3492890328409238509324850943850943825024385", 10)
	write(one)
	write(resp3.Number{N: -1 << 63})
	write(text)
	write(resp3.SimpleString{})
	write(resp3.SimpleError{S: "ERR no"})
	write(resp3.BlobError{B: []byte("SYNTAX no\r\nsuch thing")})
	write(resp3.Null{})
	write(resp3.Double{F: 3.14})
	write(resp3.Boolean{B: true})
	write(resp3.Boolean{B: false})
	write(resp3.BigNumber{I: huge})
	write(resp3.VerbatimString{S: "# a\r\n", Format: "mkd"})
	write(resp3.ArrayHeader{})
	write(resp3.MapHeader{})
	write(resp3.SetHeader{})
	write(resp3.ArrayHeader{NumElems: 2}, resp3.ArrayHeader{NumElems: 1}, resp3.MapHeader{NumPairs: 1}, text, resp3.SetHeader{NumElems: 1}, one, resp3.Null{})
	write(resp3.MapHeader{NumPairs: 2}, text, resp3.ArrayHeader{}, one, resp3.BlobString{S: "\r\n"})
	write(resp3.SetHeader{NumElems: 3}, text, one, resp3.Boolean{B: true})
	write(resp3.PushHeader{NumElems: 2}, resp3.SimpleString{S: "invalidate"}, resp3.ArrayHeader{NumElems: 1}, resp3.BlobString{S: "k"})
	write(append(slices.Clone(attribute), text)...)
	write(append(slices.Clone(attribute), resp3.ArrayHeader{NumElems: 2}, one, text)...)
	write(append(slices.Clone(attribute), append(slices.Clone(attribute), text)...)...)
	for _, n := range sizes(rng, 10, 100, 1000, 10000, 100000, 1000000) {
		write(resp3.BlobStringBytes{B: payload(rng, n)})
		write(resp3.ArrayHeader{NumElems: 2}, resp3.BlobStringBytes{B: payload(rng, n)}, one)
		write(resp3.VerbatimStringBytes{B: payload(rng, n), Format: []byte("txt")})
		write(resp3.StreamedStringWriter{R: bytes.NewReader(payload(rng, n))})
		array := []resp.Marshaler{resp3.ArrayHeader{NumElems: n % 1000}}
		for range n % 1000 {
			array = append(array, one)
		}
		write(array...)
	}
	write(resp3.ArrayHeader{NumElems: 2}, resp3.StreamedStringWriter{R: strings.NewReader("streamed")}, one)
	nested := slices.Repeat([]resp.Marshaler{resp3.ArrayHeader{NumElems: 2}, one}, 200)
	write(append(nested, one)...)
	return messages
}

// redisTalk is what go-redis and miniredis say to each other: a command and its reply with
// each call, and cut where radix ends a value if there are more.
func redisTalk(t *testing.T, version int) (messages [][]byte) {
	server := miniredis.RunT(t)
	sent, received := new(writes), new(writes)
	client := redis.NewClient(&redis.Options{
		Protocol: version, PoolSize: 1, MaxRetries: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			c, err := net.Dial("tcp", server.Addr())
			return heard{tapped{c, sent}, received}, err
		},
	})
	defer client.Close()
	// said are the values of the last call; there may be only so many in each direction.
	said := func(most int) {
		for _, w := range []*writes{sent, received} {
			values := cut(t, slices.Concat(w.take()...), func(r io.Reader) error {
				return readRESP(bufio.NewReader(iotest.OneByteReader(r)))
			})
			if len(values) == 0 || len(values) > most {
				t.Fatalf("%d values, want 1 to %d", len(values), most)
			}
			messages = append(messages, values...)
		}
	}
	ctx := context.Background()
	do := func(arguments ...any) {
		err := client.Do(ctx, arguments...).Err()
		if refused := redis.Error(nil); err != nil && !errors.As(err, &refused) {
			t.Fatal(err)
		}
		said(1)
	}
	if err := client.Ping(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	said(10) // a connection begins with more
	for _, command := range []string{
		"GET none", "SET k v", "GET k", "INCR k", "INCR n", "APPEND k w", "EXPIRE k 100", "TTL k", "TYPE k", "NOTHING",
		"HSET h a 1 b 2", "HGETALL h", "SADD s x", "SMEMBERS s", "RPUSH l 1 2 3", "LRANGE l 0 -1", "LRANGE none 0 -1", "LPOP none",
		"ZADD z 1.5 a 2 b", "ZSCORE z a", "ZRANGE z 0 -1 WITHSCORES", "ZSCORE z none", "XADD x 1-1 f v", "XRANGE x - +", "SCAN 0",
		"EXISTS k none", "EVAL return{1,{2,'a'}} 0", "COPY k k2", "DEL k n", "OBJECT ENCODING",
	} {
		var arguments []any
		for _, word := range strings.Fields(command) {
			arguments = append(arguments, word)
		}
		do(arguments...)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range sizes(rng, 10, 100, 1000, 10000, 100000, 1000000) {
		do("SET", text(rng, n%300), payload(rng, n))
		do("SET", "k", payload(rng, n))
		do("GET", "k")
		do("MGET", "k", "none", "k")
	}
	for range 3 {
		if _, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, "p", payload(rng, 200), 0)
			p.Get(ctx, "p")
			p.Incr(ctx, "n")
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		said(10)
	}
	channel := client.Subscribe(ctx, "channel")
	defer channel.Close()
	if _, err := channel.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	said(10)
	for _, n := range []int{0, 10, 1000} {
		news := text(rng, n)
		if err := client.Publish(ctx, "channel", news).Err(); err != nil {
			t.Fatal(err)
		}
		if m, err := channel.ReceiveMessage(ctx); err != nil || m.Payload != news {
			t.Fatalf("%v, %v", m, err)
		}
	}
	said(10)
	return messages
}

// heard is a connection that keeps what is read from it.
type heard struct {
	net.Conn
	to *writes
}

func (c heard) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.to.Write(b[:n])
	}
	return n, err
}
