package uapi

import (
	"fmt"
	"unsafe"
)

// RingMem is the memory a ring shares with the kernel. The offsets of Params apply
// to SQ and CQ; with IORING_FEAT_SINGLE_MMAP both are the same mapping.
type RingMem struct {
	SQ   []byte // SQ ring: head, tail, flags, index array
	CQ   []byte // CQ ring: head, tail, CQEs at CQOffset.Cqes
	SQEs []byte // the submission entries
}

// Unmap ends the mappings. Nothing may use the ring's memory afterwards. The ring's
// descriptor may be closed before or after. It returns the first error.
func (m *RingMem) Unmap() error {
	var first error
	shared := len(m.SQ) > 0 && len(m.CQ) > 0 && &m.SQ[0] == &m.CQ[0]
	if shared {
		m.CQ = nil
	}
	for _, b := range []*[]byte{&m.SQEs, &m.CQ, &m.SQ} {
		if len(*b) == 0 {
			continue
		}
		if err := Munmap(*b); err != nil && first == nil {
			first = err
		}
		*b = nil
	}
	return first
}

// At returns a pointer to the T at off bytes into mem, which must be mapped memory:
// a pointer into it does not keep it mapped. T holds no Go pointers. It panics if T
// does not fit or would be misaligned, so call it at set-up and keep the pointer.
func At[T any](mem []byte, off int) *T {
	return &Slice[T](mem, off, 1)[0]
}

// Slice returns the n values of type T, n at least 1, that start off bytes into mem,
// on the terms of At.
func Slice[T any](mem []byte, off, n int) []T {
	var t T
	size, align := int(unsafe.Sizeof(t)), unsafe.Alignof(t)
	if off < 0 || off >= len(mem) || n < 1 || n > (len(mem)-off)/size {
		panic(fmt.Sprintf("uapi: %d x %d bytes at %d do not fit a mapping of %d", n, size, off, len(mem)))
	}
	p := unsafe.Pointer(&mem[off])
	if uintptr(p)%align != 0 {
		panic(fmt.Sprintf("uapi: offset %d is not aligned to %d", off, align))
	}
	return unsafe.Slice((*T)(p), n)
}

// Addr returns the address of p as the kernel's structures hold it. p must point
// into memory outside the Go heap and stacks: an integer keeps nothing alive, and
// stacks move.
func Addr[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }
