package conformance

import (
	"fmt"
	"slices"
)

// Difference is an outcome that was not the recorded one.
type Difference struct {
	Step   int // index in Script.Steps
	Action string
	Want   string // "" if none is recorded
	Got    string // "" if there was none
}

func (d Difference) String() string {
	text := func(s string) string {
		if s == "" {
			return "nothing"
		}
		return s
	}
	return fmt.Sprintf("%s\n\twant %s\n\tgot  %s", d.Action, text(d.Want), text(d.Got))
}

// Compare returns where the outcomes that an engine had differ from those that s has for
// it.
func Compare(s *Script, engine string, got []string) []Difference {
	var diffs []Difference
	for i := range s.Steps {
		st := &s.Steps[i]
		d := Difference{Step: i, Action: st.Action.String(), Want: st.Want(engine)}
		if i < len(got) {
			d.Got = got[i]
		}
		if d.Want != d.Got || d.Got == "" {
			diffs = append(diffs, d)
		}
	}
	return diffs
}

// Record puts the outcomes that engines had into s: those they agree on as every engine's, the
// others under the engines' names. Outcomes of other engines stay, unless they are now what
// every engine has. Each of got has as many outcomes as s has steps.
func Record(s *Script, got map[string][]string) error {
	var engines []string
	for e, outcomes := range got {
		if len(outcomes) != len(s.Steps) {
			return fmt.Errorf("record: %d outcomes of %s for %d actions", len(outcomes), e, len(s.Steps))
		}
		engines = append(engines, e)
	}
	slices.Sort(engines)
	if len(engines) == 0 {
		return nil
	}
	for i := range s.Steps {
		st := &s.Steps[i]
		var others []Outcome
		for _, o := range st.Outcomes {
			if o.Engine != "" && !slices.Contains(engines, o.Engine) {
				others = append(others, o)
			}
		}
		all := got[engines[0]][i]
		agree := !slices.ContainsFunc(engines, func(e string) bool { return got[e][i] != all })
		st.Outcomes = nil
		if agree {
			st.Outcomes = append(st.Outcomes, Outcome{Text: all})
		} else {
			for _, e := range engines {
				st.Outcomes = append(st.Outcomes, Outcome{Engine: e, Text: got[e][i]})
			}
		}
		for _, o := range others {
			if !agree || o.Text != all {
				st.Outcomes = append(st.Outcomes, o)
			}
		}
	}
	return nil
}

// RecordOwn puts the outcomes that an engine had into s under its name, where they are not
// those that s has for engines without outcomes of their own. got has as many outcomes as s
// has steps.
func RecordOwn(s *Script, engine string, got []string) error {
	if len(got) != len(s.Steps) {
		return fmt.Errorf("record: %d outcomes of %s for %d actions", len(got), engine, len(s.Steps))
	}
	for i := range s.Steps {
		st := &s.Steps[i]
		st.Outcomes = slices.DeleteFunc(st.Outcomes, func(o Outcome) bool { return o.Engine == engine })
		if st.Want(engine) != got[i] {
			st.Outcomes = append(st.Outcomes, Outcome{Engine: engine, Text: got[i]})
		}
	}
	return nil
}
