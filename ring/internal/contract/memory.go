package contract

import (
	"testing"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/internal/uapi"
	"github.com/kcm-go/kcm/sgmsg"
)

// NewMemory makes the memory of a backend under test: one mapping with the pool
// at its front. It is off the Go heap except in race builds and on systems
// without mmap, and unmapped when the test ends.
func NewMemory(t testing.TB, s Sizes) (pool *sgmsg.Arena, mapping []byte) {
	t.Helper()
	n := s.Buffers * s.BufferSize
	mapping, err := uapi.MmapAnon(n + s.Large)
	if err != nil || invariants.Race {
		if err == nil {
			uapi.Munmap(mapping)
		}
		mapping = make([]byte, n+s.Large)
	} else {
		t.Cleanup(func() { uapi.Munmap(mapping) })
	}
	pool, err = sgmsg.NewPoolArena(mapping[:n], s.BufferSize, func(sgmsg.BufID) {})
	if err != nil {
		t.Fatal(err)
	}
	return pool, mapping
}
