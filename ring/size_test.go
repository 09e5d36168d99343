package ring

import (
	"reflect"
	"testing"
)

// What an idle connection costs is mostly these. Go rounds a Stream up to 352 bytes: more
// than that costs each connection at least 32 bytes. What only some streams need goes to
// side or box.
func TestSizeOfAStream(t *testing.T) {
	for _, x := range []struct {
		of    any
		limit uintptr
	}{
		{Stream{}, 352},
		{slot{}, 24},
	} {
		if typ := reflect.TypeOf(x.of); typ.Size() > x.limit {
			t.Errorf("%v is of %d bytes, want at most %d", typ, typ.Size(), x.limit)
		}
	}
}
