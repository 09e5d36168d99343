package framing

import (
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// Tally is what callbacks add up, so that each message is looked at and all of them
// can be checked.
type Tally struct {
	Messages, Bytes uint64 // Bytes of payload
	Sum             uint64 // of first bytes, and of last ones times 256
}

// add counts one message. It is all the work there is on a message.
func (t *Tally) add(payload []byte) {
	t.Messages++
	t.Bytes += uint64(len(payload))
	t.Sum += uint64(payload[0]) + uint64(payload[len(payload)-1])<<8
}

// plus returns t and n times o.
func (t Tally) plus(o Tally, n uint64) Tally {
	return Tally{t.Messages + n*o.Messages, t.Bytes + n*o.Bytes, t.Sum + n*o.Sum}
}

// Callbacks are what messages are delivered to: Batch and Message those of kcm, Bytes
// the payload of all others. What they are given is lent.
type Callbacks struct {
	Batch   func(p *strparser.Parser, b *strparser.Batch)
	Message func(p *strparser.Parser, m *sgmsg.Message)
	Bytes   func(payload []byte)
}

// callbacks returns the ones that add to t. It is not inlined, or else what the
// functions call would not be inlined into them.
//
//go:noinline
func (t *Tally) callbacks() Callbacks {
	scratch := make([]byte, ChunkSize)
	return Callbacks{
		Batch: func(_ *strparser.Parser, b *strparser.Batch) {
			for i := range b.Len() {
				t.add(b.Bytes(i)[headerLen:])
			}
		},
		Message: func(_ *strparser.Parser, m *sgmsg.Message) { t.add(payload(m, scratch)) },
		Bytes:   func(b []byte) { t.add(b) },
	}
}

// payload returns the payload of m in one piece, with the help of scratch if m is in
// several.
func payload(m *sgmsg.Message, scratch []byte) []byte {
	return m.Head(m.Len(), scratch)[headerLen:]
}
