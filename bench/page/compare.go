package page

import (
	"fmt"
	"html/template"
	"math"
	"strings"

	"github.com/kcm-go/kcm/bench/judge"
)

// Comparison is two configurations side by side.
type Comparison struct {
	A, B        string // what they are
	Paired      bool
	Differences []judge.Difference
}

// difference is one that the template can print.
type difference struct{ judge.Difference }

// Says is the outcome in words.
func (d difference) Says() string {
	if !d.Shown {
		return "no difference shown"
	}
	if d.Ratio < 1 {
		return fmt.Sprintf("B has %s %% less", digits(100*(1-d.Ratio)))
	}
	return fmt.Sprintf("B has %s %% more", digits(100*(d.Ratio-1)))
}

// RatioText is the ratio with its interval.
func (d difference) RatioText() string {
	return fmt.Sprintf("%.3f (%.3f to %.3f)", d.Ratio, d.Low, d.High)
}

func (d difference) AText() string            { return digits(d.A) }
func (d difference) BText() string            { return digits(d.B) }
func (d difference) SignificanceText() string { return fmt.Sprintf("%.2g", d.PHolm) }

// Rows are the differences for the table.
func (c *Comparison) Rows() (rows []difference) {
	for _, d := range c.Differences {
		rows = append(rows, difference{d})
	}
	return rows
}

// SVG draws the ratios with their intervals, one below the other, around 1.
func (c *Comparison) SVG(id string) template.HTML {
	const row, names = 26.0, 150.0
	spread := 1.02
	for _, d := range c.Differences {
		for _, v := range []float64{d.Ratio, d.Low, d.High} {
			if v > 0 && !math.IsInf(v, 0) {
				spread = max(spread, v, 1/v)
			}
		}
	}
	s := scale{1 / math.Pow(spread, 1.1), math.Pow(spread, 1.1), true, nil, nil}
	px := func(v float64) float64 { return names + min(1, max(0, s.at(v)))*(width-names-right) }
	high := row*float64(len(c.Differences)) + bottom
	var b strings.Builder
	put := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	put(`<svg viewBox="0 0 %g %g" role="img" aria-labelledby="%s-title">`, width, high, id)
	put(`<title id="%s-title">Ratio of B to A with its interval, for each figure</title>`, id)
	for _, v := range []float64{s.low, 1, s.high} {
		put(`<path class="%s" d="M%.1f 4V%.1f"/>`, map[bool]string{true: "axis", false: "grid"}[v == 1], px(v), high-bottom+4)
		put(`<text class="%s" x="%.1f" y="%.1f">%s</text>`, map[bool]string{true: "y", false: "x"}[v == s.high], min(px(v), width-4), high-bottom+20, digits(v))
	}
	put(`<text class="x" x="%.1f" y="%.1f">B / A</text>`, px(1), high-6)
	for i, d := range c.Differences {
		y := row*float64(i) + row/2 + 4
		class := "same"
		if d.Shown {
			class = "shown"
		}
		put(`<text class="y" x="%.1f" y="%.1f">%s</text>`, names-10, y+4, template.HTMLEscapeString(d.Name))
		put(`<path class="range %s" d="M%.1f %.1fH%.1f"/>`, class, px(d.Low), y, px(d.High))
		put(`<circle class="%s" cx="%.1f" cy="%.1f" r="4.5"><title>%s: %s</title></circle>`, class, px(d.Ratio), y,
			template.HTMLEscapeString(d.Name), difference{d}.RatioText())
	}
	put(`</svg>`)
	return template.HTML(b.String()) // all text in it is escaped
}
