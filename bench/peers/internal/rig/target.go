package rig

import "fmt"

// Target is something a server should be, and what it is.
type Target struct {
	Part string   `json:"part"`
	What string   `json:"what"`
	Got  float64  `json:"got"`
	Rel  Relation `json:"relation"` // that Got should have to Want
	Want float64  `json:"want"`
	Unit string   `json:"unit,omitempty"`
	Of   *Ratio   `json:"ratio,omitempty"` // that Got is of
}

// Relation is that of a figure to the one wanted.
type Relation string

const (
	AtMost  Relation = "at most"
	AtLeast Relation = "at least"
)

// Median is the target of a ratio's median; the bounds tell how sure that is.
func Median(part, what string, q *Ratio, rel Relation, want float64) Target {
	return Target{part, what, q.Median, rel, want, "", q}
}

// Bound is the target of a ratio's bound: of the one that is further from what is wanted.
func Bound(part, what string, q *Ratio, rel Relation, want float64) Target {
	t := Median(part, what, q, rel, want)
	t.Got = q.Hi
	if rel == AtLeast {
		t.Got = q.Lo
	}
	return t
}

// Met reports whether the server is what it should be.
func (t Target) Met() bool {
	if t.Rel == AtMost {
		return t.Got <= t.Want
	}
	return t.Got >= t.Want
}

// String is a line of the report.
func (t Target) String() string {
	verdict := "met"
	if !t.Met() {
		verdict = "MISSED"
	}
	got, want := fmt.Sprintf("%.0f", t.Got), fmt.Sprintf("%.0f", t.Want)
	if t.Of != nil {
		got, want = t.Of.String(), fmt.Sprintf("%g", t.Want)
		if t.Got != t.Of.Median {
			want += " with its bounds"
		}
	}
	if t.Unit != "" {
		got, want = got+" "+t.Unit, want+" "+t.Unit
	}
	return fmt.Sprintf("%s: %s: %s is %s, wanted %s %s", verdict, t.Part, t.What, got, t.Rel, want)
}
