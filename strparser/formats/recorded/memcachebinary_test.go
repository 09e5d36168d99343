package recorded

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/couchbase/gomemcached"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "MemcacheBinary", f: formats.MemcacheBinary,
		encoders:  []string{"github.com/couchbase/gomemcached"},
		reference: "memcached doc/protocol-binary.txt",
		messages:  memcachePackets,
		decoder: func(stream io.Reader) func() error {
			return func() error { return readMemcachePacket(stream) }
		},
	})
}

// readMemcachePacket reads a request or a response as gomemcached does.
func readMemcachePacket(stream io.Reader) error {
	var head [24]byte
	if _, err := io.ReadFull(stream, head[:]); err != nil {
		return err
	}
	whole := io.MultiReader(bytes.NewReader(head[:]), stream)
	switch head[0] {
	case gomemcached.REQ_MAGIC:
		_, err := new(gomemcached.MCRequest).Receive(whole, nil)
		return err
	case gomemcached.RES_MAGIC:
		m := new(gomemcached.MCResponse)
		if _, err := m.Receive(whole, nil); err != nil && err != error(m) { // that the status is an error is none
			return err
		}
		return nil
	}
	return fmt.Errorf("magic byte %#x", head[0])
}

// memcachePackets is requests and responses with keys, extras and values of many sizes.
// Each is one call.
func memcachePackets(t *testing.T) (messages [][]byte) {
	rng := rand.New(rand.NewPCG(1, 1))
	opaque := uint32(0)
	write := func(code gomemcached.CommandCode, status gomemcached.Status, extras, key, value []byte) {
		opaque++
		request := &gomemcached.MCRequest{Opcode: code, Opaque: opaque, Cas: rng.Uint64(), Extras: extras, Key: key, Body: value}
		response := &gomemcached.MCResponse{Opcode: code, Opaque: opaque, Cas: rng.Uint64(), Status: status, Extras: extras, Key: key, Body: value}
		messages = append(messages, request.Bytes(), response.Bytes())
	}
	for _, code := range []gomemcached.CommandCode{
		gomemcached.NOOP, gomemcached.QUIT, gomemcached.FLUSH, gomemcached.VERSION, gomemcached.STAT, gomemcached.SASL_LIST_MECHS,
	} {
		write(code, gomemcached.SUCCESS, nil, nil, nil)
	}
	write(gomemcached.GET, gomemcached.KEY_ENOENT, nil, []byte("k"), []byte("Not found"))
	write(gomemcached.INCREMENT, gomemcached.SUCCESS, payload(rng, 20), []byte("n"), payload(rng, 8))
	write(gomemcached.SET, gomemcached.SUCCESS, payload(rng, 28), payload(rng, 1<<16-1), payload(rng, 1000))
	for _, n := range sizes(rng, 1<<8, 1<<16, 1<<20) {
		write(gomemcached.SET, gomemcached.SUCCESS, payload(rng, 8), payload(rng, 1+rng.IntN(250)), payload(rng, n))
		write(gomemcached.GETK, gomemcached.SUCCESS, payload(rng, 4), payload(rng, 1+n%250), payload(rng, n))
		write(gomemcached.DELETE, gomemcached.NOT_STORED, nil, payload(rng, 1+n%250), nil)
	}
	write(gomemcached.SET, gomemcached.SUCCESS, payload(rng, 8), payload(rng, 10), payload(rng, 1<<24))
	return messages
}
