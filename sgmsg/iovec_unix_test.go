//go:build unix

package sgmsg

import "testing"

// The vector points at the elements' own bytes.
func TestIovecs(t *testing.T) {
	a := NewHeap(1 << 16)
	defer a.Close(nil)
	m := pieces(t, a, "first", "x", "the third", "4", "five")
	defer m.Release()
	vec := m.AppendIovecs(nil)
	if len(vec) != m.Used() {
		t.Fatalf("%d of %d", len(vec), m.Used())
	}
	for i, v := range vec {
		if b := m.Elem(i).Bytes(); v.Base != &b[0] || int(v.Len) != len(b) {
			t.Errorf("vector %d has %d bytes at %p, want %d at %p", i, v.Len, v.Base, len(b), &b[0])
		}
	}
}
