//go:build amd64 || arm64

package uapi

import (
	"fmt"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// MapRings maps the rings of fd, which Setup created with p: mmap(2) of the SQ
// ring, the CQ ring (the same mapping with IORING_FEAT_SINGLE_MMAP) and the SQEs.
// The caller ends them with Unmap. A ring with IORING_SETUP_NO_MMAP has none
// (EINVAL). The error wraps the errno; on error nothing stays mapped.
func MapRings(fd int, p *Params) (RingMem, error) {
	if p.Flags&IORING_SETUP_NO_MMAP != 0 {
		return RingMem{}, fmt.Errorf("map rings: %w", syscall.EINVAL)
	}
	sq, cq, sqes := ringSizes(p)
	if p.Features&IORING_FEAT_SINGLE_MMAP != 0 {
		sq = max(sq, cq)
	}
	var m RingMem
	var err error
	if m.SQ, err = mmapRing(fd, IORING_OFF_SQ_RING, sq); err != nil {
		return RingMem{}, fmt.Errorf("map submission ring: %w", err)
	}
	if p.Features&IORING_FEAT_SINGLE_MMAP != 0 {
		m.CQ = m.SQ
	} else if m.CQ, err = mmapRing(fd, IORING_OFF_CQ_RING, cq); err != nil {
		m.Unmap()
		return RingMem{}, fmt.Errorf("map completion ring: %w", err)
	}
	if m.SQEs, err = mmapRing(fd, IORING_OFF_SQES, sqes); err != nil {
		m.Unmap()
		return RingMem{}, fmt.Errorf("map submission entries: %w", err)
	}
	return m, nil
}

// ringSizes returns the bytes of the three mappings. Without an index array
// (IORING_SETUP_NO_SQARRAY) its offset is 0 and its share a harmless surplus below
// the size of the CQ ring, which shares the mapping on every kernel with the flag.
func ringSizes(p *Params) (sq, cq, sqes uint64) {
	cqe, sqe := uint64(16), uint64(64)
	if p.Flags&IORING_SETUP_CQE32 != 0 {
		cqe = 32
	}
	if p.Flags&IORING_SETUP_SQE128 != 0 {
		sqe = 128
	}
	sq = uint64(p.SQOffset.Array) + 4*uint64(p.SQEntries)
	cq = uint64(p.CQOffset.Cqes) + cqe*uint64(p.CQEntries)
	return sq, cq, sqe * uint64(p.SQEntries)
}

func mmapRing(fd int, off, size uint64) ([]byte, error) {
	return unix.Mmap(fd, int64(off), int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
}

// MmapBufRing maps the provided-buffer ring that the kernel allocated for group
// bgid under IOU_PBUF_RING_MMAP; entries is BufReg.RingEntries. Munmap ends it.
func MmapBufRing(fd int, bgid uint16, entries uint32) ([]byte, error) {
	b, err := mmapRing(fd, IORING_OFF_PBUF_RING|uint64(bgid)<<IORING_OFF_PBUF_SHIFT, 16*uint64(entries))
	if err != nil {
		return nil, fmt.Errorf("map buffer ring: %w", err)
	}
	return b, nil
}

// MmapAnon returns n bytes of zeroed private memory outside the Go heap, aligned to
// a page, with n rounded up to whole pages. Pages are taken when first touched.
// The caller ends the mapping with Munmap. The error wraps the errno: EINVAL for
// n <= 0, ENOMEM.
func MmapAnon(n int) ([]byte, error) {
	page := os.Getpagesize()
	if n <= 0 || n > math.MaxInt-page {
		return nil, fmt.Errorf("map %d bytes: %w", n, syscall.EINVAL)
	}
	size := (n + page - 1) &^ (page - 1)
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", size, err)
	}
	return b, nil
}

// Munmap ends a mapping of this package. b is the slice that was returned, whole;
// a part of it, or a slice already unmapped, is refused with EINVAL.
func Munmap(b []byte) error {
	if err := unix.Munmap(b); err != nil {
		return fmt.Errorf("unmap: %w", err)
	}
	return nil
}

// AdviseHuge asks for huge pages under b (MADV_HUGEPAGE). It is a hint: EINVAL where
// the kernel is built without them.
func AdviseHuge(b []byte) error {
	if err := unix.Madvise(b, unix.MADV_HUGEPAGE); err != nil {
		return fmt.Errorf("advise huge pages: %w", err)
	}
	return nil
}

// AdviseDontFork keeps b out of child processes (MADV_DONTFORK). Pages that the
// kernel has pinned would otherwise be copied away from it when the parent writes
// after a fork.
func AdviseDontFork(b []byte) error {
	if err := unix.Madvise(b, unix.MADV_DONTFORK); err != nil {
		return fmt.Errorf("advise no fork: %w", err)
	}
	return nil
}
