package sgmsg

import (
	"errors"
	"math"
	"sync"
	"syscall"
	"testing"
)

// Numbers and accounts that make no sense are refused, and the message stays as it is.
func TestSenselessArguments(t *testing.T) {
	a := NewHeap(4096)
	defer a.Close(nil)
	var m Message
	defer m.Release()
	m.Bind(&Account{Limit: 10, MaxFrags: -1}) // no memory
	for name, err := range map[string]error{"alloc": m.Alloc(1, 0), "push": m.Push(0, 1)} {
		if !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s without memory: %v", name, err)
		}
	}
	if _, err := m.Reserve(a, 10, -5); !errors.Is(err, syscall.EINVAL) {
		t.Error(err)
	}
	if err := m.AppendCopy(a, []byte("abc"), 0); err != nil {
		t.Fatal(err)
	}
	if m.Trim(math.MinInt); m.Len() != 0 || m.Used() != 0 {
		t.Errorf("%d bytes in %d elements are left", m.Len(), m.Used())
	}
	defer func() {
		if recover() == nil {
			t.Error("a message was moved to itself")
		}
	}()
	m.MoveTo(&m)
}

// What is refused for the limit is never charged, not for a moment.
func TestRefusalDisturbsNobody(t *testing.T) {
	a := NewHeap(1 << 20)
	defer a.Close(nil)
	acct := &Account{Memory: a, Limit: 10000}
	var wg sync.WaitGroup
	wg.Go(func() {
		var m Message
		m.Bind(acct)
		for range 5000 {
			if err := m.Alloc(20000, 0); !errors.Is(err, syscall.ENOMEM) {
				t.Error(err)
				break
			}
		}
		m.Release()
	})
	var m Message
	m.Bind(acct)
	for range 5000 {
		if err := m.Alloc(100, 0); err != nil || acct.Charged() != 100 {
			t.Errorf("%v, %d charged", err, acct.Charged())
			break
		}
		m.Trim(0)
	}
	wg.Wait()
	m.Release()
}
