package recorded

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "RESP-redis", f: formats.RESP,
		encoders:  []string{"redis-server"},
		reference: "Redis serialization protocol specification",
		messages:  redisReplies,
		decoder: func(stream io.Reader) func() error {
			b := bufio.NewReader(stream)
			return func() error { return readRESP(b) }
		},
	})
}

// redisReplies is what Redis replies, in RESP2 and in RESP3: a value of each type that it
// can be made to send, nested ones and strings of many sizes. There is one reply to each
// command, where radix ends it.
func redisReplies(t *testing.T) (messages [][]byte) {
	for _, version := range []int{2, 3} {
		dial := program(t, "redis-server", func(socket string) []string {
			return []string{"--port", "0", "--unixsocket", socket, "--save", "", "--enable-debug-command", "yes", "--logfile", "log"}
		})
		received := new(writes)
		client := redis.NewClient(&redis.Options{
			Protocol: version, PoolSize: 1, MaxRetries: -1,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
			Dialer:                   func(context.Context, string, string) (net.Conn, error) { return heard{dial(), received}, nil },
		})
		defer client.Close()
		reply := func() {
			all := slices.Concat(received.take()...)
			values := cut(t, all, func(r io.Reader) error { return readRESP(bufio.NewReader(iotest.OneByteReader(r))) })
			if len(values) == 0 {
				t.Fatal("no reply")
			}
			messages = append(messages, values...)
		}
		do := func(arguments ...any) {
			err := client.Do(t.Context(), arguments...).Err()
			if refused := redis.Error(nil); err != nil && !errors.As(err, &refused) {
				t.Fatal(arguments, err)
			}
			reply()
		}
		for _, command := range []string{
			"GET none", "INCR n", "NOTHING", "SET k", "RPUSH l a b c", "LRANGE l 0 -1", "LRANGE none 0 -1", "BLPOP none 0.01",
			"HSET h f v g w", "HGETALL h", "HGETALL none", "SADD s x", "SMEMBERS s", "ZADD z 1.5 a inf b", "ZRANGE z 0 -1 WITHSCORES",
			"ZSCORE z a", "ZSCORE z none", "XADD x 1-1 f v", "XRANGE x - +", "XREAD STREAMS x 0", "SCAN 0", "COMMAND INFO get none",
			"COMMAND DOCS get", "ACL GETUSER default", "MEMORY DOCTOR", "LOLWUT VERSION 5 1 1 1", "OBJECT HELP", "CONFIG GET maxmemory*",
			"EVAL return{1,{2,{},'a',false},redis.status_reply('fine')} 0", "EVAL return{double=3.25} 0", "EVAL return{map={a=1}} 0",
			"DEBUG PROTOCOL string", "DEBUG PROTOCOL integer", "DEBUG PROTOCOL double", "DEBUG PROTOCOL null", "DEBUG PROTOCOL array",
			"DEBUG PROTOCOL set", "DEBUG PROTOCOL map", "DEBUG PROTOCOL verbatim", "DEBUG PROTOCOL true", "DEBUG PROTOCOL false",
			"DEBUG PROTOCOL bignum",
		} {
			var arguments []any
			for _, word := range strings.Fields(command) {
				arguments = append(arguments, word)
			}
			do(arguments...)
		}
		if version == 3 {
			do("DEBUG", "PROTOCOL", "attrib")
		}
		rng := rand.New(rand.NewPCG(1, 1))
		for _, n := range sizes(rng, 10, 100, 1000, 10000, 100000, 1000000) {
			do("SET", "k", payload(rng, n))
			do("GET", "k")
			do("ECHO", text(rng, n%1000))
			do("MGET", "k", "none", "k")
		}
		if _, err := client.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			p.Set(t.Context(), "p", payload(rng, 200), 0)
			p.MGet(t.Context(), "p", "none")
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		reply()
	}
	return messages
}
