//go:build linux

package epoll

import (
	"reflect"
	"testing"
)

// There is a desc for every descriptor number of the process, whoever's it is.
func TestSizeOfADesc(t *testing.T) {
	if n := reflect.TypeOf(desc{}).Size(); n > 48 {
		t.Errorf("desc is of %d bytes, want at most 48", n)
	}
}
