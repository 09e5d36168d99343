package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// store answers requests. The zero store is empty.
type store struct {
	values sync.Map // string to string
}

// quick is the handler: it runs on the loop of the connection. It answers what can be
// answered without making the loop's other connections wait, and passes the rest.
func (s *store) quick(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
	header := strparser.Length32.HeaderLen()
	var scratch [16]byte
	head := msg.Head(header+1, scratch[:])
	if len(head) > header && head[header] == 'D' {
		return mux.Pass // whole, as it came
	}
	msg.TrimFront(header)
	if err := from.SendPayload(s.answer(msg.AppendTo(nil))); err != nil {
		return mux.End // the client would wait for ever
	}
	return mux.Done
}

// answer carries out a quick request. It keeps nothing of req.
func (s *store) answer(req []byte) []byte {
	if len(req) == 0 {
		return []byte("-empty request")
	}
	switch arg := req[1:]; req[0] {
	case 'G':
		v, ok := s.values.Load(string(arg))
		if !ok {
			return []byte("-no such key")
		}
		return append([]byte("+"), v.(string)...)
	case 'S':
		key, value, ok := bytes.Cut(arg, []byte(" "))
		if !ok {
			return []byte("-set needs a key, a space and a value")
		}
		s.values.Store(string(key), string(value))
		return []byte("+")
	}
	return []byte("-unknown request")
}

// slow is the workers' function.
func (s *store) slow(r *mux.Received) mux.Verdict {
	r.Msg.TrimFront(strparser.Length32.HeaderLen() + 1)
	if err := r.ReplyPayload([]byte(s.digest(string(r.Msg.AppendTo(nil))))); err != nil {
		return mux.End
	}
	return mux.Done
}

// digest walks through all values.
func (s *store) digest(prefix string) string {
	found := map[string]string{}
	s.values.Range(func(k, v any) bool {
		if strings.HasPrefix(k.(string), prefix) {
			found[k.(string)] = v.(string)
		}
		return true
	})
	h := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(found)) {
		h.Write([]byte(found[key])) // never fails
	}
	return fmt.Sprintf("+%d %x", len(found), h.Sum(nil))
}
