package conformance

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Script is a case: actions, and what is known of their outcomes.
type Script struct {
	Comment []string // the first lines, without "# "
	Steps   []Step
}

// Step is an action with its outcomes.
type Step struct {
	Comment  []string // the lines before it
	Action   Action
	Outcomes []Outcome // at most one for each engine, that of every engine first
}

// Outcome is what an action came to. The texts are those of the engines; nothing here
// depends on them.
type Outcome struct {
	Engine string // "" is every engine that has none of its own
	Text   string
}

// engineName is what an engine may be called in scripts.
var engineName = regexp.MustCompile(`^[a-z0-9.]+$`)

// ParseScript parses a script. Errors name the line.
func ParseScript(text string) (*Script, error) {
	s := &Script{}
	var comment []string
	first := true // the first comment is the script's
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, " ")
		fail := func(err error) (*Script, error) { return nil, fmt.Errorf("line %d: %w", i+1, err) }
		switch {
		case line == "":
			if first && comment != nil {
				s.Comment, comment, first = comment, nil, false
			}
		case line[0] == '#':
			comment = append(comment, strings.TrimPrefix(line[1:], " "))
		case line[0] == '=':
			if len(s.Steps) == 0 || comment != nil {
				return fail(fmt.Errorf("an outcome without an action"))
			}
			o, err := parseOutcome(line)
			if err != nil {
				return fail(err)
			}
			if !s.Steps[len(s.Steps)-1].add(o) {
				return fail(fmt.Errorf("a second outcome for the same engine, or one before that of every engine"))
			}
		default:
			a, err := ParseAction(line)
			if err != nil {
				return fail(err)
			}
			s.Steps = append(s.Steps, Step{Comment: comment, Action: a})
			comment, first = nil, false
		}
	}
	if first {
		s.Comment, comment = comment, nil
	}
	if comment != nil {
		return nil, fmt.Errorf("a comment without an action behind it")
	}
	return s, nil
}

func parseOutcome(line string) (Outcome, error) {
	name, text, ok := strings.Cut(line[1:], " ")
	switch {
	case !ok || strings.TrimSpace(text) != text || text == "":
		return Outcome{}, fmt.Errorf("an outcome without text")
	case name != "" && !engineName.MatchString(name):
		return Outcome{}, fmt.Errorf("%q is no name of an engine", name)
	}
	return Outcome{Engine: name, Text: text}, nil
}

// add appends o and reports whether it may stand there.
func (st *Step) add(o Outcome) bool {
	if o.Engine == "" && len(st.Outcomes) > 0 ||
		slices.ContainsFunc(st.Outcomes, func(x Outcome) bool { return x.Engine == o.Engine }) {
		return false
	}
	st.Outcomes = append(st.Outcomes, o)
	return true
}

// String returns the script as text, in the one form that the files in testdata have.
func (s *Script) String() string {
	var b strings.Builder
	comment := func(lines []string) {
		for _, l := range lines {
			b.WriteString(strings.TrimRight("# "+l, " "))
			b.WriteByte('\n')
		}
	}
	comment(s.Comment)
	if s.Comment != nil {
		b.WriteByte('\n')
	}
	for i, st := range s.Steps {
		if st.Comment != nil && i > 0 {
			b.WriteByte('\n')
		}
		comment(st.Comment)
		b.WriteString(st.Action.String())
		b.WriteByte('\n')
		for _, o := range st.Outcomes {
			fmt.Fprintf(&b, "=%s %s\n", o.Engine, o.Text)
		}
	}
	return b.String()
}

// Want returns the outcome that the engine should have, "" if none is recorded.
func (st *Step) Want(engine string) string {
	want := ""
	for _, o := range st.Outcomes {
		if o.Engine == engine {
			return o.Text
		}
		if o.Engine == "" {
			want = o.Text
		}
	}
	return want
}

var mark = regexp.MustCompile(`\b(?:E|I|KC-)[1-9][0-9]*\b`)

// Marks returns the numbers that the script's first comment names: of edge cases (E8),
// invariants (I5) and differences (KC-4).
func (s *Script) Marks() []string {
	return mark.FindAllString(strings.Join(s.Comment, " "), -1)
}

// Differs returns the numbers of the differences that outcomes of an engine's own are due to. The
// script's first comment ends with them: "In mux: KC-4, KC-11."
func (s *Script) Differs(engine string) []string {
	text := strings.Join(s.Comment, " ")
	i := strings.LastIndex(text, "In "+engine+": ")
	if i < 0 {
		return nil
	}
	return mark.FindAllString(text[i:], -1)
}
