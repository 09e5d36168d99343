package strparser

import "github.com/kcm-go/kcm/sgmsg"

// Compact copies the bytes in hand out of the buffers of pool, so that these can be
// recycled while the message waits for its rest. It is called on the lower's thread,
// not inside a callback. The error is ENOMEM; then nothing has changed.
func (p *Parser) Compact(pool *sgmsg.Arena) error {
	return p.view.msg.Compact(pool, p.allocator())
}

// Holds reports whether the bytes in hand lie in chunks of the lower.
func (p *Parser) Holds() bool { return p.view.msg.Used() > 0 }

// Salvage appends the bytes in hand, those of a message that was not completed,
// to m and forgets them, so that the owner of a stopped parser can hand them to
// whoever reads the stream next; together with what is unread on the lower
// nothing of the stream is lost. It is called where Done may be called, before
// it. The error is ENOMEM; then the bytes stay in hand.
func (p *Parser) Salvage(m *sgmsg.Message) error {
	if !p.stopped.Load() {
		panic("strparser: Salvage of a parser that was not stopped")
	}
	if v := &p.view; v.acc > 0 && v.msg.Len() == 0 {
		if err := m.AppendCopy(p.allocator(), v.inline[:v.acc], 0); err != nil {
			return err
		}
	} else if v.acc > 0 {
		v.msg.MoveTo(m)
		v.msg.Reset()
	}
	p.drop()
	return nil
}
