package sgmsg_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/internal/transcript"
	"github.com/kcm-go/kcm/sgmsg"
)

// TestTranscripts runs the files of testdata, each with messages whose first element
// lies at several places of the list: what they do must not depend on it.
//
// There are two messages, a and b, bound to one account. Elements are written
//
//	[abc]  private memory    (abc)  a received chunk    <abc>  the caller's memory
//
// with . for a zero byte. What is shown after each command has ( ) around all that
// is shared, whyever, and ? for a byte that was allocated and not filled.
//
// Commands, all on a unless they start with "b.":
//
//	new max=N [limit=N] [ELEMENTS]   the account's limits, and what a starts with
//	add ELEMENTS
//	alloc TOTAL [FIRST], copy TEXT [N], zerocopy ELEMENTS [N]
//	trim N, trimfront N, return N, reset
//	push START N, pop START N, pull START END, write START TEXT (pull, and write)
//	clone OFF N, xfer ELEMENT N, movefront N, xferfull   to the other message
//	window, cursor, charge
//
// Proves I14.
func TestTranscripts(t *testing.T) {
	for _, lead := range []int{0, 1, 3, 4, 15} {
		t.Run(fmt.Sprint(lead), func(t *testing.T) {
			transcript.Run(t, "testdata/*.txt", func(t *testing.T, out *strings.Builder) transcript.Script {
				return newScript(t, out, lead)
			})
		})
	}
}

type script struct {
	t       *testing.T
	out     *strings.Builder
	lead    int
	pool    *sgmsg.Arena
	private *sgmsg.Arena
	next    int // block of the pool
	wrapped int // memories that are not back
	acct    *sgmsg.Account
	msgs    map[string]*sgmsg.Message
}

func newScript(t *testing.T, out *strings.Builder, lead int) *script {
	s := &script{t: t, out: out, lead: lead, acct: new(sgmsg.Account)}
	var err error
	if s.pool, err = sgmsg.NewPoolArena(make([]byte, 64*64), 64, func(sgmsg.BufID) {}); err != nil {
		t.Fatal(err)
	}
	if s.private, err = sgmsg.NewArena(make([]byte, 4<<20), 32); err != nil {
		t.Fatal(err)
	}
	s.acct.Memory = s.private
	s.msgs = map[string]*sgmsg.Message{"a": new(sgmsg.Message), "b": new(sgmsg.Message)}
	return s
}

// Close sees that everything comes back.
func (s *script) Close() {
	for _, m := range s.msgs {
		m.Release()
	}
	if n := s.pool.Held() + s.private.Held() + s.wrapped + s.acct.Charged(); n > 0 {
		s.t.Errorf("%d + %d buffers, %d wrapped ones and a charge of %d are left",
			s.pool.Held(), s.private.Held(), s.wrapped, s.acct.Charged())
	}
	s.pool.Close(nil)
	s.private.Close(nil)
}

// elements makes what is written in the notation above; the caller has the references.
func (s *script) elements(text string) (es []sgmsg.Element) {
	for len(text) > 0 {
		kind := text[0]
		end := strings.IndexAny(text, "])>")
		body := strings.ReplaceAll(text[1:end], ".", "\x00")
		text = text[end+1:]
		if n, ok := strings.CutPrefix(body, "*"); ok { // *N: N bytes
			k, err := strconv.Atoi(n)
			if err != nil {
				s.t.Fatal(err)
			}
			body = strings.Repeat("x", k)
		}
		var e sgmsg.Element
		var err error
		switch kind {
		case '[':
			e, err = s.private.Alloc(len(body))
		case '(':
			id := s.pool.ID(s.next)
			s.next++
			s.pool.Adopt(id)
			e = sgmsg.Element{Buf: id, Len: uint32(len(body))}
		case '<':
			s.wrapped++
			e, err = sgmsg.Wrap([]byte(body), func() { s.wrapped-- })
		}
		if err != nil {
			s.t.Fatal(err)
		}
		copy(e.Bytes(), body)
		es = append(es, e)
	}
	return es
}

// show writes a message.
func (s *script) show(name string) {
	m := s.msgs[name]
	curr, mark := m.Cursor()
	fmt.Fprintf(s.out, "%s ", name)
	filled := mark
	for i := range curr {
		filled += int(m.Elem(i).Len)
	}
	for i := range m.Used() {
		e := m.Elem(i)
		text := strings.ReplaceAll(string(e.Bytes()), "\x00", ".")
		if k := max(0, filled); k < len(text) {
			text = text[:k] + strings.Repeat("?", len(text)-k)
		}
		filled -= len(text)
		if len(text) > 40 {
			text = fmt.Sprintf("*%d", len(text))
		}
		if m.Shared(i) {
			fmt.Fprintf(s.out, "(%s)", text)
		} else {
			fmt.Fprintf(s.out, "[%s]", text)
		}
	}
	fmt.Fprintf(s.out, " %d\n", m.Len())
}

func (s *script) num(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// Run runs one command and shows the message it is on.
func (s *script) Run(line string) {
	name, other := "a", "b"
	if l, ok := strings.CutPrefix(line, "b."); ok {
		name, other, line = "b", "a", l
	}
	f := append(strings.Fields(line), "", "", "")
	m, dst := s.msgs[name], s.msgs[other]
	var err error
	switch f[0] {
	case "new":
		s.open(f[1:])
	case "add":
		for _, e := range s.elements(f[1]) {
			m.Append(e)
		}
	case "alloc":
		first := 0
		if f[2] != "" {
			first = s.num(f[2])
		}
		err = m.Alloc(s.num(f[1]), first)
	case "copy":
		n := len(f[1])
		if f[2] != "" {
			n = s.num(f[2])
		}
		var done int
		done, err = m.MemCopyFrom(sgmsg.NewIter([]byte(f[1])), n)
		if done != n {
			fmt.Fprintf(s.out, "copied %d\n", done)
		}
	case "zerocopy":
		it, n := new(sgmsg.Iter), 0
		es := s.elements(f[1])
		for _, e := range es {
			it.AddElement(e)
			n += int(e.Len)
		}
		if f[2] != "" {
			n = s.num(f[2])
		}
		had := it.Len()
		if err = m.ZeroCopyFrom(it, n); err != nil && it.Len() != had {
			s.t.Errorf("%s: the iterator has %d bytes of %d", line, it.Len(), had)
		}
		for _, e := range es {
			e.Buf.Release()
		}
	case "trim":
		m.Trim(s.num(f[1]))
	case "trimfront":
		m.TrimFront(s.num(f[1]))
	case "return":
		fmt.Fprintf(s.out, "returned %d\n", m.Return(s.num(f[1])))
	case "reset":
		fmt.Fprintf(s.out, "freed %d\n", m.Reset())
		m.Bind(s.acct)
	case "push":
		err = m.Push(s.num(f[1]), s.num(f[2]))
	case "pop":
		err = m.Pop(s.num(f[1]), s.num(f[2]))
	case "pull":
		var win []byte
		if win, err = m.Pull(s.num(f[1]), s.num(f[2])); err == nil {
			fmt.Fprintf(s.out, "window %q\n", win)
		}
	case "write":
		var win []byte
		if win, err = m.Pull(s.num(f[1]), s.num(f[1])+len(f[2])); err == nil {
			copy(win, f[2])
		}
	case "clone":
		err = m.Clone(dst, s.num(f[1]), s.num(f[2]))
	case "xfer":
		err = m.Xfer(dst, s.num(f[1]), s.num(f[2]))
	case "movefront":
		err = m.MoveFront(dst, s.num(f[1]))
	case "xferfull":
		m.XferFull(dst)
		m.Bind(s.acct)
	case "window":
		fmt.Fprintf(s.out, "window %q\n", m.Window())
		return
	case "cursor":
		curr, mark := m.Cursor()
		fmt.Fprintf(s.out, "cursor %d, %d\n", curr, mark)
		return
	case "charge":
		fmt.Fprintf(s.out, "charged %d\n", s.acct.Charged())
		return
	default:
		s.t.Fatalf("no command %q", line)
	}
	if err != nil {
		fmt.Fprintln(s.out, errname(err))
	}
	s.show(name)
	switch f[0] {
	case "clone", "xfer", "movefront", "xferfull":
		s.show(other)
	}
}

// open sets the account and gives a its first elements, behind others that go again.
func (s *script) open(args []string) {
	var elements string
	for _, a := range args {
		if n, ok := strings.CutPrefix(a, "max="); ok {
			s.acct.MaxFrags = s.num(n)
		} else if n, ok := strings.CutPrefix(a, "limit="); ok {
			s.acct.Limit = s.num(n)
		} else {
			elements += a
		}
	}
	m := s.msgs["a"]
	for _, e := range append(s.elements(strings.Repeat("[x](y)", s.lead)), s.elements(elements)...) {
		m.Append(e)
	}
	m.TrimFront(2 * s.lead)
	for _, m := range s.msgs {
		m.Bind(s.acct)
	}
}

func errname(err error) string {
	for e, name := range map[syscall.Errno]string{
		syscall.EINVAL: "EINVAL", syscall.ENOSPC: "ENOSPC", syscall.ENOMEM: "ENOMEM", syscall.EFAULT: "EFAULT",
	} {
		if errors.Is(err, e) {
			return name
		}
	}
	return err.Error()
}
