package recorded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/user"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "MemcacheText", f: formats.MemcacheText,
		encoders:  []string{"github.com/bradfitz/gomemcache/memcache"},
		reference: "memcached doc/protocol.txt",
		messages:  memcacheRequests,
	}, protocol{
		name: "MemcacheReply", f: formats.MemcacheReply,
		encoders:  []string{"memcached"},
		reference: "memcached doc/protocol.txt",
		messages:  memcacheReplies,
	})
}

// memcacheRequests is what a client writes, a request with each call.
func memcacheRequests(t *testing.T) (messages [][]byte) {
	near, far := pair(t)
	go memcacheAnswer(far)
	w := new(writes)
	client := memcache.New("127.0.0.1:1") // not that: what it dials is near
	client.DialContext = func(context.Context, string, string) (net.Conn, error) { return tapped{near, w}, nil }
	client.Timeout = patience
	request := func(err error) {
		if err != nil && !errors.Is(err, memcache.ErrCacheMiss) {
			t.Fatal(err)
		}
		messages = append(messages, slices.Concat(w.take()...))
	}
	rng := rand.New(rand.NewPCG(1, 1))
	key := func(n int) string { return strings.ReplaceAll(text(rng, 1+n%250), " ", "_") }
	for _, n := range sizes(rng, 10, 100, 1000, 10000, 100000, 1000000) {
		for _, store := range []func(*memcache.Item) error{
			client.Set, client.Add, client.Replace, client.Append, client.Prepend, client.CompareAndSwap,
		} {
			request(store(&memcache.Item{Key: key(n), Value: payload(rng, n), Flags: rng.Uint32(), Expiration: int32(n%100) - 1, CasID: rng.Uint64()}))
		}
		_, err := client.Get(key(n))
		request(err)
		_, err = client.GetMulti([]string{key(n), key(3), key(4)})
		request(err)
		_, err = client.Increment(key(n), uint64(n))
		request(err)
		_, err = client.Decrement(key(n), 1)
		request(err)
		_, err = client.GetAndTouch(key(n), int32(n))
		request(err)
		request(client.Touch(key(n), int32(n)))
		request(client.Delete(key(n)))
	}
	var keys []string
	for n := range 250 {
		keys = append(keys, key(n))
	}
	_, err := client.GetMulti(keys) // a line of 30,000 bytes
	request(err)
	request(client.Ping())
	request(client.FlushAll())
	return messages
}

// memcacheAnswer is a server that stores nothing and says so or that it did, until the
// connection ends.
func memcacheAnswer(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		reply := "END\r\n"
		switch words[0] {
		case "set", "add", "replace", "append", "prepend", "cas":
			n := 0
			if _, err := fmt.Sscan(words[4], &n); err != nil {
				return
			}
			if _, err := io.CopyN(io.Discard, r, int64(n)+2); err != nil {
				return
			}
			reply = "STORED\r\n"
		case "incr", "decr":
			reply = "7\r\n"
		case "touch":
			reply = "TOUCHED\r\n"
		case "delete":
			reply = "DELETED\r\n"
		case "version":
			reply = "VERSION 0\r\n"
		case "flush_all":
			reply = "OK\r\n"
		}
		if _, err := io.WriteString(c, reply); err != nil {
			return
		}
	}
}

// memcacheReplies is what memcached replies. What it stores is known, and so where a
// reply ends. That it understands the requests, one at a time, makes them a test of
// MemcacheText, for the meta commands too.
func memcacheReplies(t *testing.T) (messages [][]byte) {
	c := memcached(t)
	r := bufio.NewReader(c)
	var requests [][]byte
	// ask sends a request, and expects for each word a reply that begins with it: a line,
	// and then the value if there is one behind a blank.
	ask := func(request string, replies ...string) {
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		requests = append(requests, []byte(request))
		for _, want := range replies {
			got, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			word, value, more := strings.Cut(want, " ")
			if more {
				b := make([]byte, len(value)+2)
				if _, err := io.ReadFull(r, b); err != nil || string(b) != value+"\r\n" {
					t.Fatalf("%q: %q, want %q behind %q", request, b, value, got)
				}
				got += string(b)
			}
			if !strings.HasPrefix(got, word) {
				t.Fatalf("%q: %q, want %q", request, got, want)
			}
			messages = append(messages, []byte(got))
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for i, n := range sizes(rng, 10, 100, 1000, 10000, 100000, 1000000) {
		value := string(payload(rng, n))
		key := strings.ReplaceAll(text(rng, 1+n%250), " ", "_")
		ask(fmt.Sprintf("set %s %d 0 %d\r\n%s\r\n", key, i, n, value), "STORED")
		ask("get "+key+"\r\n", "VALUE "+value, "END")
		ask("gets none "+key+" "+key+"\r\n", "VALUE "+value, "VALUE "+value, "END")
		ask(fmt.Sprintf("append %s 0 0 2\r\n\r\n\r\n", key), "STORED")
		ask("gat 100 "+key+"\r\n", "VALUE "+value+"\r\n", "END")
		ask(fmt.Sprintf("ms %s %d T100 F%d c\r\n%s\r\n", key, n, i, value), "HD")
		ask("mg "+key+" v\r\n", "VA "+value)
		ask("mg "+key+" t f s c k v\r\n", "VA "+value)
		ask("mg "+key+" s\r\n", "HD")
		ask("delete "+key+"\r\n", "DELETED")
	}
	for _, x := range [][]string{
		{"get none\r\n", "END"}, {"delete none\r\n", "NOT_FOUND"}, {"touch none 1\r\n", "NOT_FOUND"},
		{"add n 0 0 1\r\n5\r\n", "STORED"}, {"add n 0 0 1\r\n5\r\n", "NOT_STORED"}, {"incr n 5\r\n", "10"}, {"decr n 1\r\n", "9"},
		{"cas n 0 0 1 1\r\n5\r\n", "EXISTS"}, {"cas none 0 0 1 1\r\n5\r\n", "NOT_FOUND"}, {"set n 0 -1 0\r\n\r\n", "STORED"},
		{"set n 0 0 3 noreply\r\nabc\r\n"}, {"incr n 1\r\n", "CLIENT_ERROR"},
		{"mn\r\n", "MN"}, {"mg none v\r\n", "EN"}, {"mg none v q\r\n"}, {"ms n 1 ME\r\n5\r\n", "NS"}, {"ms n 1\r\n5\r\n", "HD"}, {"ma n v\r\n", "VA 6"}, {"ma n q\r\n"},
		{"md none\r\n", "NF"}, {"md n q\r\n"}, {"ms bg== 2 b\r\nhi\r\n", "HD"}, {"mg bg== b k v\r\n", "VA hi"}, {"me n\r\n", "ME"}, {"me none\r\n", "EN"},
		{"nothing\r\n", "ERROR"}, {"version\r\n", "VERSION"}, {"verbosity 0\r\n", "OK"}, {"flush_all\r\n", "OK"},
	} {
		ask(x[0], x[1:]...)
		ask("mn\r\n", "MN") // nothing else was said
	}
	found(t, &protocol{f: formats.MemcacheText}, requests)
	return messages
}

// memcached starts memcached and connects to it. The test is skipped if there is none.
func memcached(t *testing.T) net.Conn {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	c := program(t, "memcached", func(socket string) []string { return []string{"-s", socket, "-u", me.Username, "-t", "1"} })()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}
