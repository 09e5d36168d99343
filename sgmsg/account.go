package sgmsg

import (
	"fmt"
	"sync/atomic"
	"syscall"
)

// MaxFrags is how many elements a message that is built has room for, unless its
// account says otherwise: MAX_SKB_FRAGS of Linux.
const MaxFrags = 17

// Account is whom messages are built for: it gives their memory, says how many
// elements one may have, and is charged for their bytes. It is what the operations
// of the kernel's sk_msg take a socket for.
//
// A message bound to it is charged for all bytes it holds, until they are removed,
// returned, moved to another message or released; so the charge is the sum over its
// messages, after errors too, and 0 when they are all gone.
//
// The fields are set before the first use. The methods are safe for concurrent use.
type Account struct {
	// Memory is where the bytes of Alloc, Push, Pop and Pull come from.
	Memory Allocator

	// MaxFrags is the largest number of elements that Alloc, Clone, ZeroCopyFrom
	// and Xfer fill a message to and that Push and Pop leave it with. 0 means
	// [MaxFrags]. Small numbers are for tests.
	MaxFrags int

	// Limit is the charge in bytes that Alloc does not exceed; only Alloc looks at it.
	// 0 means none.
	Limit int

	charged atomic.Int64
}

// binding is what a message knows about its account.
type binding struct {
	acct    *Account
	charged int // bytes
	blank   int // bytes
}

// Charged returns the bytes charged now.
func (a *Account) Charged() int { return int(a.charged.Load()) }

func (a *Account) maxFrags() int {
	if a.MaxFrags <= 0 {
		return MaxFrags
	}
	return a.MaxFrags
}

// try charges n bytes unless they exceed the limit.
func (a *Account) try(n int) bool {
	for {
		now := a.charged.Load()
		if a.Limit > 0 && now+int64(n) > int64(a.Limit) {
			return false
		}
		if a.charged.CompareAndSwap(now, now+int64(n)) {
			return true
		}
	}
}

// Bind makes a the account that m is built for: it is charged for the bytes of m,
// without limit, and an account that m was bound to before no longer is. nil means
// none. A message that is released, moved or reset is bound to none afterwards.
func (m *Message) Bind(a *Account) {
	m.mustLive("Bind")
	m.settle()
	m.unbind()
	if a != nil {
		m.needRest().acct = a
		m.bound = true
		m.charge(m.size)
	}
}

// Return gives up to n bytes of the charge back and changes nothing else: for bytes
// that somebody else accounts for from now on. It returns how many it gave.
func (m *Message) Return(n int) int {
	m.mustLive("Return")
	if n <= 0 || !m.bound {
		return 0
	}
	n = min(n, m.rest.charged)
	m.charge(-n)
	return n
}

func (m *Message) unbind() {
	if m.bound {
		m.charge(-m.rest.charged)
		m.rest.binding = binding{}
		m.bound = false
	}
}

// charge charges n bytes more, or gives back as many; the message is bound.
func (m *Message) charge(n int) {
	m.rest.charged += n
	m.rest.acct.charged.Add(int64(n))
}

// shrank gives back the charge of bytes that were removed.
func (m *Message) shrank() {
	if !m.bound {
		return
	}
	if r := m.rest; r.charged > m.size {
		m.charge(m.size - r.charged)
	}
	m.setBlank(min(m.blank(), m.size))
}

// blank returns how many bytes at the end were allocated and not filled yet.
func (m *Message) blank() int {
	if !m.bound {
		return 0
	}
	return m.rest.blank
}

func (m *Message) setBlank(n int) {
	if m.bound {
		m.rest.blank = n
	}
}

// Full reports whether the message has as many elements as its account allows. One
// that is bound to none never is.
func (m *Message) Full() bool {
	return m.bound && m.Used() >= m.rest.acct.maxFrags()
}

// memory returns a private element of n bytes from the account.
func (m *Message) memory(op string, n int) (Element, error) {
	if err := m.hasMemory(op); err != nil {
		return Element{}, err
	}
	return m.rest.acct.Memory.Alloc(n)
}

func (m *Message) hasMemory(op string) error {
	if !m.bound || m.rest.acct.Memory == nil {
		return fmt.Errorf("%s: the message is bound to no account that has memory: %w", op, syscall.EINVAL)
	}
	return nil
}
