package rig

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/kcm-go/kcm/bench/peers/stats"
)

// Confidence is what the bounds of a median are asked to have.
const Confidence = 0.95

// Rounds is one figure of one server, by round. A round may be missing.
type Rounds map[int]float64

// Median is the median over all rounds, NaN if there are none.
func (r Rounds) Median() float64 { return stats.Median(slices.Collect(maps.Values(r))) }

// Ratio compares two servers by a figure: base/other within each round that has
// both, the median of that, and its bounds.
type Ratio struct {
	Base       string  `json:"base"`
	Metric     string  `json:"metric"`
	Pairs      int     `json:"pairs"`
	Median     float64 `json:"median"`
	Lo         float64 `json:"lo"`
	Hi         float64 `json:"hi"`
	Confidence float64 `json:"confidence"` // that [Lo, Hi] has
}

// Compare makes a Ratio of the figures of base and of the other server; ok is
// false if they have no round in common.
func Compare(name, metric string, base, other Rounds) (_ Ratio, ok bool) {
	var q []float64
	for round, v := range other {
		if b, ok := base[round]; ok && v > 0 {
			q = append(q, b/v)
		}
	}
	if len(q) == 0 {
		return Ratio{}, false
	}
	lo, hi, got := stats.Bounds(q, Confidence)
	return Ratio{name, metric, len(q), stats.Median(q), lo, hi, got}, true
}

// String is the form that tables have.
func (r Ratio) String() string { return fmt.Sprintf("%.3f [%.3f, %.3f]", r.Median, r.Lo, r.Hi) }

// Brackets says what the brackets of ratios mean: of those whose bounds are the
// least certain. It is empty without ratios.
func Brackets(ratios []Ratio) string {
	if len(ratios) == 0 {
		return ""
	}
	least := slices.MinFunc(ratios, func(a, b Ratio) int { return cmp.Compare(a.Confidence, b.Confidence) })
	text := fmt.Sprintf("Ratios are medians of the ratios within rounds; brackets enclose the true median with %.1f %% confidence or more (%d pairs).\n",
		100*least.Confidence, least.Pairs)
	if least.Confidence < Confidence {
		text += fmt.Sprintf("That is less than %.0f %%: it takes 6 rounds or more.\n", 100*Confidence)
	}
	return text
}
