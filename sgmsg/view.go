package sgmsg

import "io"

// AppendBuffers appends the bytes of each element to dst, for net.Buffers:
//
//	bufs := net.Buffers(m.AppendBuffers(nil))
//	_, err := bufs.WriteTo(conn) // one writev
//
// The slices are lent: they are valid while the message is, and must not be written.
func (m *Message) AppendBuffers(dst [][]byte) [][]byte {
	m.mustLive("AppendBuffers")
	for i := m.first; i < m.end; i++ {
		dst = append(dst, m.at(i).Bytes())
	}
	return dst
}

// Reader reads the bytes of a message from the start and leaves the message as it
// is: an [io.Reader], [io.ByteReader] and [io.WriterTo]. The message must not change
// while it is read. The zero Reader is at the end of nothing.
//
// A Reader is not safe for concurrent use, but a message may have several.
type Reader struct {
	m    *Message
	i    int // the element that is next
	off  int // and how much of it was read
	left int
}

// NewReader returns a reader of m.
func NewReader(m *Message) *Reader {
	r := new(Reader)
	r.Reset(m)
	return r
}

// Reset makes r a reader of m, from the start.
func (r *Reader) Reset(m *Message) {
	m.mustLive("Reader")
	*r = Reader{m: m, left: m.size}
}

// Len returns the bytes not read yet.
func (r *Reader) Len() int { return r.left }

// next returns the bytes of an element that were not read yet; there are some.
func (r *Reader) next() []byte {
	r.m.mustLive("Read")
	return r.m.Elem(r.i).Bytes()[r.off:]
}

func (r *Reader) advance(n int) {
	r.left -= n
	if r.off += n; r.off == int(r.m.Elem(r.i).Len) {
		r.i, r.off = r.i+1, 0
	}
}

// Read copies bytes into p. At the end of the message the error is [io.EOF].
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && r.left > 0 {
		k := copy(p[n:], r.next())
		r.advance(k)
		n += k
	}
	return n, nil
}

// ReadByte returns the next byte, or the error [io.EOF].
func (r *Reader) ReadByte() (byte, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	b := r.next()[0]
	r.advance(1)
	return b, nil
}

// WriteTo writes all that was not read yet to w, an element a call, none
// of it copied. An error is w's, or [io.ErrShortWrite]; what was written counts as read.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for r.left > 0 {
		b := r.next()
		n, err := w.Write(b)
		if n < 0 || n > len(b) {
			panic("sgmsg: WriteTo a writer that says it wrote what it was not given")
		}
		r.advance(n)
		total += int64(n)
		if err != nil {
			return total, err
		}
		if n < len(b) {
			return total, io.ErrShortWrite
		}
	}
	return total, nil
}
