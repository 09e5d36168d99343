package framing

import "io"

// Source is the sending end: chunks, one after the other. It stands for the socket
// and is used by one goroutine.
type Source struct {
	chunks    [][]byte
	forever   bool // the last chunk repeats
	inPlace   bool // reads write nothing
	next, off int  // the byte that comes next
}

// NewSource returns a source of these chunks, none of which is empty.
func NewSource(chunks ...[]byte) *Source { return &Source{chunks: chunks} }

// Read is a receive: it copies as much of the current chunk as p has room for. With
// bytes in place it only says how much that is. After the last chunk it fails with
// io.EOF.
func (s *Source) Read(p []byte) (int, error) {
	if s.next == len(s.chunks) {
		return 0, io.EOF
	}
	rest := s.chunks[s.next][s.off:]
	n := min(len(p), len(rest))
	if !s.inPlace {
		copy(p, rest[:n])
	}
	s.advance(n)
	return n, nil
}

// Take is a receive for those who do not care where the bytes lie: it copies the
// rest of the current chunk to buf, which has room for it, or with bytes in place
// lends it.
func (s *Source) Take(buf []byte) ([]byte, error) {
	if s.next == len(s.chunks) {
		return nil, io.EOF
	}
	b := s.chunks[s.next][s.off:]
	if !s.inPlace {
		b = buf[:copy(buf[:len(b)], b)]
	}
	s.advance(len(b))
	return b, nil
}

// Rest returns how much is left of a chunk that was begun, 0 if none was.
func (s *Source) Rest() int {
	if s.off == 0 {
		return 0
	}
	return len(s.chunks[s.next]) - s.off
}

func (s *Source) advance(n int) {
	if s.off += n; s.off < len(s.chunks[s.next]) {
		return
	}
	s.off = 0
	if !s.forever || s.next < len(s.chunks)-1 {
		s.next++
	}
}
