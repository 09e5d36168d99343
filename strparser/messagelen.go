package strparser

import (
	"sync"

	"github.com/kcm-go/kcm/sgmsg"
)

var views = sync.Pool{New: func() any { return new(View) }}

// MessageLen returns what f says about the length of the message that m begins with, as a
// parser would find it: n is 0 when m is too short to tell. Errors: f's. m is unchanged. It is
// for those who send: whether what they send is what its header says. Safe for concurrent use
// with different messages.
func MessageLen(f Format, m *sgmsg.Message) (n int, err error) {
	if m.Len() == 0 {
		return 0, nil
	}
	v := views.Get().(*View)
	defer views.Put(v)
	v.Cookie, v.acc = Cookie{}, 0
	if m.Used() == 1 {
		v.cur = m.Elem(0).Bytes()
	} else { // all but the last piece are in hand
		last := m.Elem(m.Used() - 1)
		v.acc, v.cur = m.Len()-int(last.Len), last.Bytes()
		if err := m.Clone(&v.msg, 0, v.acc); err != nil {
			return 0, err
		}
		m.CopyTo(v.inline[:], 0)
	}
	n, err = f.Parse(v)
	v.cur = nil
	v.msg.Reset()
	return n, err
}
