package conformance

import (
	"fmt"
	"reflect"
	"testing"
)

// counter is an engine that counts actions, and says so.
type counter struct{ n int }

func (c *counter) Do(a *Action) string {
	c.n++
	return fmt.Sprintf("%d %s", c.n, a.Verb)
}

func TestPlay(t *testing.T) {
	s, err := ParseScript(sample)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	got := Play(&counter{}, s, func(step int, outcome string) {
		told = append(told, fmt.Sprint(step, " ", outcome))
	})
	if want := []string{"1 open", "2 recv", "3 close"}; !reflect.DeepEqual(got, want) {
		t.Errorf("outcomes %q, want %q", got, want)
	}
	if want := []string{"0 1 open", "1 2 recv", "2 3 close"}; !reflect.DeepEqual(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestCompare(t *testing.T) {
	s, err := ParseScript("open dgram\n= a\nopen tcp\n= b\n=6.1 c\nopen udp\n= d\n")
	if err != nil {
		t.Fatal(err)
	}
	if d := Compare(s, "6.12", []string{"a", "b", "d"}); d != nil {
		t.Errorf("differences %v", d)
	}
	if d := Compare(s, "6.1", []string{"a", "c", "d"}); d != nil {
		t.Errorf("differences %v", d)
	}
	got := Compare(s, "6.1", []string{"x", "b"})
	want := []Difference{
		{Step: 0, Action: "open dgram", Want: "a", Got: "x"},
		{Step: 1, Action: "open tcp", Want: "c", Got: "b"},
		{Step: 2, Action: "open udp", Want: "d"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("differences %v, want %v", got, want)
	}
	if text := got[2].String(); text != "open udp\n\twant d\n\tgot  nothing" {
		t.Errorf("told as %q", text)
	}
	bare, err := ParseScript("open dgram")
	if err != nil {
		t.Fatal(err)
	}
	if d := Compare(bare, "6.1", nil); len(d) != 1 {
		t.Errorf("an action without outcomes, recorded or had, is no difference")
	}
}

func TestRecord(t *testing.T) {
	for _, c := range []struct {
		name, before, after string
		got                 map[string][]string
	}{
		{"new", "open dgram\n", "open dgram\n= a\n", map[string][]string{"6.1": {"a"}, "6.12": {"a"}}},
		{"apart", "open dgram\n= a\n", "open dgram\n=6.1 a\n=6.12 b\n", map[string][]string{"6.1": {"a"}, "6.12": {"b"}}},
		{"together", "open dgram\n=6.1 a\n=6.12 b\n", "open dgram\n= b\n", map[string][]string{"6.1": {"b"}, "6.12": {"b"}}},
		{"others stay", "open dgram\n= a\n=mux m\n", "open dgram\n= b\n=mux m\n", map[string][]string{"6.1": {"b"}, "6.12": {"b"}}},
		{"others agree", "open dgram\n= a\n=mux b\n", "open dgram\n= b\n", map[string][]string{"6.1": {"b"}, "6.12": {"b"}}},
		{"nobody", "open dgram\n= a\n", "open dgram\n= a\n", nil},
	} {
		s, err := ParseScript(c.before)
		if err != nil {
			t.Fatal(err)
		}
		if err := Record(s, c.got); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := s.String(); got != c.after {
			t.Errorf("%s: %q, want %q", c.name, got, c.after)
		}
	}
	s := &Script{Steps: make([]Step, 2)}
	if err := Record(s, map[string][]string{"6.1": {"a"}}); err == nil {
		t.Error("too few outcomes are recorded")
	}
}

func TestRecordOwn(t *testing.T) {
	s, err := ParseScript("open dgram\n= a\n=mux b\nopen tcp\n= c\nopen udp\n=6.1 d\n=mux d\nopen unix\n=mux e\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := RecordOwn(s, "mux", []string{"a", "x", "d", "f"}); err != nil {
		t.Fatal(err)
	}
	if got, want := s.String(), "open dgram\n= a\nopen tcp\n= c\n=mux x\nopen udp\n=6.1 d\n=mux d\nopen unix\n=mux f\n"; got != want {
		t.Errorf("recorded as\n%swant\n%s", got, want)
	}
	if err := RecordOwn(s, "mux", []string{"a"}); err == nil {
		t.Error("one outcome is enough for four actions")
	}
}
