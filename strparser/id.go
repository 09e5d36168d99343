package strparser

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"github.com/kcm-go/kcm/sgmsg"
)

// IDField is where messages have the number by which a reply finds its request, in
// protocols that answer out of order.
type IDField struct {
	// Offset of the number from the start of the message, header included.
	Offset int
	// Width of the number in bytes, 1 to 8.
	Width int
	// Order of its bytes. nil means big endian, network order.
	Order binary.ByteOrder
	// Max is the largest number that may be used, all that Width holds when zero.
	// Protocols with signed numbers keep half of them for the server.
	Max uint64
	// Find, if not nil, returns the offset in place of Offset, for messages with
	// something of variable length in front of the number. ok is false for a message
	// that has none. It must not change the message.
	Find func(m *sgmsg.Message) (offset int, ok bool)
}

// IDs are the places of the number in requests and in replies.
type IDs struct{ Request, Reply IDField }

// Correlated is a [Format] that knows where its numbers are.
type Correlated interface {
	Format
	IDs() IDs
}

// Check returns an error that wraps EINVAL when the field can be none.
func (f IDField) Check() error {
	switch {
	case f.Width < 1 || f.Width > 8:
		return fmt.Errorf("strparser: IDField.Width %d, want 1 to 8: %w", f.Width, syscall.EINVAL)
	case f.Offset < 0 || f.Offset > maxOffset:
		return fmt.Errorf("strparser: IDField.Offset %d, want 0 to %d: %w", f.Offset, maxOffset, syscall.EINVAL)
	case f.Max > f.widest():
		return fmt.Errorf("strparser: IDField.Max %d does not fit %d bytes: %w", f.Max, f.Width, syscall.EINVAL)
	}
	return nil
}

func (f IDField) widest() uint64 { return ^uint64(0) >> (64 - 8*f.Width) }

// Largest returns the largest number that may be used.
func (f IDField) Largest() uint64 {
	if f.Max > 0 {
		return f.Max
	}
	return f.widest()
}

// place returns where the number of m is. ok is false when m has none.
func (f *IDField) place(m *sgmsg.Message) (off int, ok bool) {
	off, ok = f.Offset, true
	if f.Find != nil {
		off, ok = f.Find(m)
	}
	return off, ok && off >= 0 && off <= m.Len()-f.Width
}

// Get returns the number of a message, which may be more than Max. ok is false when the
// message has none, or is too short for it.
func (f IDField) Get(m *sgmsg.Message) (id uint64, ok bool) {
	off, ok := f.place(m)
	if !ok {
		return 0, false
	}
	var b [8]byte
	m.CopyTo(b[:f.Width], off)
	x := Length{Width: f.Width, Order: f.Order}.prefix()
	return x.field(b[:]), true
}

// Set writes the number of a message. Memory that others see as well is not written: the
// message gets a copy of what lies up to the end of the number, from al, and shares the
// rest as before.
//
// Errors: EINVAL when the message has no such field, EOVERFLOW for a number over Largest,
// ENOMEM. The message is then unchanged.
func (f IDField) Set(m *sgmsg.Message, al sgmsg.Allocator, id uint64) error {
	off, ok := f.place(m)
	if !ok {
		return fmt.Errorf("strparser: a message of %d bytes has no room for its number: %w", m.Len(), syscall.EINVAL)
	}
	if id > f.Largest() {
		return fmt.Errorf("strparser: number %d, the largest is %d: %w", id, f.Largest(), syscall.EOVERFLOW)
	}
	end := off + f.Width
	if w := m.Window(); len(w) >= end {
		f.put(w[off:end], id)
		return nil
	}
	var few [64]byte
	head := few[:]
	if end > len(few) {
		head = make([]byte, end)
	}
	head = head[:end]
	m.CopyTo(head, 0)
	f.put(head[off:], id)
	if err := m.Prepend(al, head); err != nil {
		return err
	}
	return m.Pop(end, end) // the end of an element or the front of one, which needs no memory
}

func (f IDField) put(b []byte, id uint64) {
	little := littleEndian(f.Order)
	for i := range b {
		at := len(b) - 1 - i
		if little {
			at = i
		}
		b[at] = byte(id >> (8 * i))
	}
}
