package conformance

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestActions(t *testing.T) {
	for _, line := range []string{
		`open dgram`, `open dgram 1`, `open connecting`, `stats conns`, `wait 300`, `result 2`,
		`socket 1 clone`, `socket 1 attach conn 2`, `socket 1 attach conn 2 incl32`,
		`socket 1 attach socket 2`, `socket 1 unattach conn 1`,
		`socket 1 send`, `socket 1 send eor`, `socket 1 send more batch msg "a" "b"`,
		`socket 1 send wait 10 "x"`, `socket 1 sendeach msg "a" msg "b"`, `socket 1 sendeach batch "a"`,
		`socket 1 recv 100`, `socket 1 recv 0 peek trunc waitall wait`, `socket 1 splice 5`, `socket 1 splice 5 nonblock`, `socket 1 send more fault`,
		`socket 1 recv 9 fault`,
		`socket 1 setsockopt kcm 1 4 1`, `socket 1 getsockopt tcp 1 4`, `socket 1 try getsockname`,
		`socket 2 stats conns brief`, `stats mux brief`, `socket 1 set rcvbuf 4096`, `conn 1 set rcvtimeo 100`, `peer 3 poll`,
		`conn 1 error`, `peer 1 close`, `peer 1 write msg 5 "hello"`, `conn 1 write hex 0005`,
		`peer 1 read`, `conn 1 drain`, `peer 1 accept`, `peer 1 fin`, `peer 1 reset`,
	} {
		a, err := ParseAction(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if got := a.String(); got != line {
			t.Errorf("%s prints as %s", line, got)
		}
	}
}

func TestActionFields(t *testing.T) {
	a, err := ParseAction(`  socket 2   send eor  batch "ab"`)
	if err != nil {
		t.Fatal(err)
	}
	want := Action{Object: Socket, N: 2, Verb: "send", Flags: []string{"eor", "batch"},
		Data: Data{{Runs: []Run{{Text: "ab", Size: 2}}}}}
	if !reflect.DeepEqual(a, want) {
		t.Fatalf("got %+v, want %+v", a, want)
	}
	if !a.Has("eor") || a.Has("more") {
		t.Error("Has is wrong")
	}
}

func TestActionsRefused(t *testing.T) {
	for _, line := range []string{
		``, `"open"`, `open`, `open door`, `open dgram x`, `open dgram 1 2`, `socket`, `socket 0 clone`,
		`socket x clone`, `socket 1`, `socket 1 "clone"`, `socket 1 fin`, `peer 1 clone`, `attach conn 1`,
		`socket 1 attach`, `socket 1 attach peer 1`, `socket 1 attach conn`, `socket 1 attach conn 0`,
		`socket 1 attach conn 1 json`, `socket 1 recv`, `socket 1 recv 5 wait peek`, `socket 1 recv 01`,
		`socket 1 recv 5 "x"`, `socket 1 send batch more`, `peer 1 write`, `wait -1`, `socket 1 sendeach`,
		`socket 1 set speed 5`, `socket 1 try flock`, `socket 1 setsockopt kcm 1 4`,
	} {
		if a, err := ParseAction(line); err == nil {
			t.Errorf("%s is accepted as %s", line, a)
		}
	}
}

const sample = `# E8, KC-4: what this is.
# Second line, not E80x.

# Of the first action.
open dgram
= socket 1

# More.
socket 1 recv 100
= EAGAIN
=6.1 EWHAT
=mux not supported
socket 1 close
`

func TestScript(t *testing.T) {
	s, err := ParseScript(sample)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.String(); got != sample {
		t.Errorf("prints as\n%s", got)
	}
	if len(s.Comment) != 2 || len(s.Steps) != 3 || len(s.Steps[0].Comment) != 1 {
		t.Fatalf("parsed as %+v", s)
	}
	if got, want := s.Marks(), []string{"E8", "KC-4"}; !reflect.DeepEqual(got, want) {
		t.Errorf("marks %v, want %v", got, want)
	}
	for engine, want := range map[string]string{"6.1": "EWHAT", "6.12": "EAGAIN", "mux": "not supported"} {
		if got := s.Steps[1].Want(engine); got != want {
			t.Errorf("want of %s is %q, want %q", engine, got, want)
		}
	}
	if got := s.Steps[2].Want("mux"); got != "" {
		t.Errorf("want of an action without outcome is %q", got)
	}
}

func TestScriptsRefused(t *testing.T) {
	for _, text := range []string{
		"= ok", "open dgram\n=", "open dgram\n= ", "open dgram\n=6.1", "open dgram\n=MUX ok",
		"open dgram\n= a\n= b", "open dgram\n=6.1 a\n= b", "open dgram\n=6.1 a\n=6.1 b", "open dgram\n# c\n= ok",
		"open dgram\n# c", "# a\n\n# b\n", "bad", "open dgram\n=  ok",
	} {
		if _, err := ParseScript(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
	_, err := ParseScript("open dgram\n\nbad\n")
	if err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("error %v does not name the line", err)
	}
}

// Parsing what a script prints gives the script again, and printing that the text.
func FuzzScript(f *testing.F) {
	f.Add(sample)
	f.Add("open tcp\npeer 1 write msg 3 \"a\" + hex 00 head 5\n=x y\n")
	f.Add("#\n\n#\nsocket 1 send more eor fail 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseScript(text)
		if err != nil {
			return
		}
		printed := s.String()
		again, err := ParseScript(printed)
		if err != nil {
			t.Fatalf("%q prints as %q: %v", text, printed, err)
		}
		if !reflect.DeepEqual(s, again) {
			t.Fatalf("%q prints as %q, which is another script:\n%+v\n%+v", text, printed, s, again)
		}
		if p := again.String(); p != printed {
			t.Fatalf("%q prints as %q and then as %q", text, printed, p)
		}
	})
}

func TestDiffers(t *testing.T) {
	for text, want := range map[string][]string{
		"# KC-1: lost.\nopen dgram\n":                               {},
		"# KC-1: lost. In mux:\n# KC-2, KC-11.\n\nopen dgram\n":     {"KC-2", "KC-11"},
		"# Lost.\n# In mux: KC-4.\n\n# In mux: KC-5.\nopen dgram\n": {"KC-4"},
		"# In 6.1: KC-4.\nopen dgram\n":                             {},
	} {
		s, err := ParseScript(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Differs("mux"); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
