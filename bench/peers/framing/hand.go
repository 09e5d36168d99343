package framing

import "encoding/binary"

// hand is the loop that one writes who has the bytes in one piece and wants nothing
// else: no limit, no pause, no end of stream. It costs what it takes to load lengths one
// after the other, since where the next one lies depends on the last, and to call the
// function. What a chunk ends with is copied, and completed by the next one.
type hand struct {
	src     *Source
	deliver func(payload []byte)
	buf     []byte
	rest    []byte
}

func openHand(src *Source, to Callbacks) (Cutter, error) {
	return &hand{src: src, deliver: to.Bytes, buf: make([]byte, ChunkSize)}, nil
}

func (h *hand) Cut(chunks, _ int) error {
	for range chunks {
		b, err := h.src.Take(h.buf)
		if err != nil {
			return err
		}
		if b = h.complete(b); len(h.rest) == 0 {
			h.rest = append(h.rest, h.cut(b)...)
		}
	}
	return nil
}

// cut delivers what is whole and returns what is left.
func (h *hand) cut(b []byte) []byte {
	for len(b) >= headerLen {
		n := headerLen + int(binary.BigEndian.Uint32(b))
		if n > len(b) {
			break
		}
		h.deliver(b[headerLen:n])
		b = b[n:]
	}
	return b
}

// complete puts to the rest what it needs of b, delivers it if it is whole then, and
// returns what is left of b: nothing if it is not.
func (h *hand) complete(b []byte) []byte {
	for len(h.rest) > 0 && len(b) > 0 {
		want := headerLen
		if len(h.rest) >= headerLen {
			want += int(binary.BigEndian.Uint32(h.rest))
		}
		if n := want - len(h.rest); n > 0 {
			n = min(n, len(b))
			h.rest, b = append(h.rest, b[:n]...), b[n:]
			continue
		}
		h.rest = h.rest[:len(h.cut(h.rest))]
	}
	h.rest = h.rest[:len(h.cut(h.rest))]
	return b
}

func (*hand) Close() error { return nil }

// readOnly reads and looks at nothing: what all pay for in the set [Read].
type readOnly struct {
	src *Source
	buf []byte
}

func openReadOnly(src *Source, _ Callbacks) (Cutter, error) {
	return &readOnly{src, make([]byte, ChunkSize)}, nil
}

func (r *readOnly) Cut(chunks, _ int) error {
	for range chunks {
		if _, err := r.src.Take(r.buf); err != nil {
			return err
		}
	}
	return nil
}

func (*readOnly) Close() error { return nil }
