package mux

import (
	"reflect"
	"testing"

	"github.com/kcm-go/kcm/strparser"
)

// What an idle connection costs is mostly a Psock, its parser inside, and the ring.Stream
// below. Go rounds a Psock up to 448 bytes: more than that costs each connection at least 32
// bytes. What only some connections need goes to side, flow or another structure of its own.
// TestMemoryOfIdleConnections measures the whole.
func TestSizeOfAPsock(t *testing.T) {
	for _, x := range []struct {
		of    any
		limit uintptr
	}{
		{Psock{}, 448},
		{strparser.Parser{}, 304},
	} {
		if typ := reflect.TypeOf(x.of); typ.Size() > x.limit {
			t.Errorf("%v is of %d bytes, want at most %d", typ, typ.Size(), x.limit)
		}
	}
}
