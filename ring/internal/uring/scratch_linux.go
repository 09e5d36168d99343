package uring

import (
	"github.com/kcm-go/kcm/internal/uapi"
	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// scratch is the memory outside the Go heap that submission entries point to.
//
// The lasting part is used by the kernel at any time. The rest is what the entries
// of one submission name; after it the kernel has its own copy
// (IORING_FEAT_SUBMIT_STABLE) and reset makes it free again. There is a header and a
// name for every submission entry, so only the iovecs can run out, which calls for
// an early submission.
type scratch struct {
	*lasting
	hdrs  []uapi.MsgHdr
	names [][nameBytes]byte
	iovs  []uapi.Iovec

	usedHdrs, usedNames, usedIovs int
	mem                           []byte
}

// lasting is read or written by the kernel at any time while the ring lives.
type lasting struct {
	woken   uint64        // target of the read of the wake descriptor
	timeout uapi.Timespec // argument of a bounded wait
	packet  uapi.MsgHdr   // of every multishot recvmsg: the areas' sizes
}

const (
	nameBytes    = backend.NameSpace // holds struct sockaddr_un
	lastingBytes = 128
	iovecs       = 64 * backend.MaxVector
)

// open maps the scratch for a queue of n submission entries.
func (s *scratch) open(n int) error {
	const hdr, iov = 56, 16 // sizes of MsgHdr and Iovec; Slice checks that they fit
	mem, err := uapi.MmapAnon(lastingBytes + n*(hdr+nameBytes) + iovecs*iov)
	if err != nil {
		return err
	}
	s.mem = mem
	s.lasting = uapi.At[lasting](mem, 0)
	s.lasting.packet = uapi.MsgHdr{Namelen: backend.NameSpace, Controllen: backend.ControlSpace}
	at := lastingBytes
	s.iovs = uapi.Slice[uapi.Iovec](mem, at, iovecs)
	at += iovecs * iov
	s.hdrs = uapi.Slice[uapi.MsgHdr](mem, at, n)
	at += n * hdr
	s.names = uapi.Slice[[nameBytes]byte](mem, at, n)
	return nil
}

// reset makes everything but the lasting part free.
func (s *scratch) reset() { s.usedHdrs, s.usedNames, s.usedIovs = 0, 0, 0 }

// fits reports whether there is room for n more iovecs.
func (s *scratch) fits(n int) bool { return s.usedIovs+n <= len(s.iovs) }

// hdr returns a message header with the elements as its iovecs. There must be room.
func (s *scratch) hdr(v []sgmsg.Element) *uapi.MsgHdr {
	iovs := s.iovs[s.usedIovs : s.usedIovs+len(v)]
	s.usedIovs += len(v)
	for i := range v {
		iovs[i] = uapi.Iovec{Base: address(v[i].Bytes()), Len: uint64(v[i].Len)}
	}
	h := &s.hdrs[s.usedHdrs]
	s.usedHdrs++
	*h = uapi.MsgHdr{Iovlen: uint64(len(v))}
	if len(v) > 0 {
		h.Iov = uapi.Addr(&iovs[0])
	}
	return h
}

// name returns the socket address of a, as the kernel reads it.
func (s *scratch) name(a *backend.Addr) (addr uint64, n uint32) {
	p := &s.names[s.usedNames]
	s.usedNames++
	return uapi.Addr(p), uint32(encode(p, a))
}

// address returns the address of the first byte of p, which lies outside the Go
// heap (in race builds on it, where its arena keeps it alive and in place).
func address(p []byte) uint64 {
	if len(p) == 0 {
		return 0
	}
	return uapi.Addr(&p[0])
}
