package page

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

// figure is a diagram with two axes. Colours are those of the page's style, by the
// class of a line, so that one drawing serves light, dark and print.
type figure struct {
	ID, Title    string
	Note         string // below it
	xName, yName string
	x, y         scale
	lines        []line
	bounds       []bound
	spans        []span
}

// line is a curve, or points.
type line struct {
	label  string
	colour int
	dashed bool
	dots   bool // a mark at each point; their names are shown where the reader points
	loose  bool // dots alone
	step   bool // from each point across, then up or down
	points []point
}

type point struct {
	x, y float64
	name string
}

// bound is a line across the figure, at y.
type bound struct {
	y     float64
	label string
}

// span is a band over the figure's height, from one x to another.
type span struct{ low, high float64 }

// The size of a figure, and of the margins of its axes. It is small enough for text to
// be read on a phone, where the figure is as wide as the screen.
const (
	width, height            = 480.0, 300.0
	left, right, top, bottom = 72.0, 14.0, 12.0, 42.0

	colours = 8
	most    = 400 // points of a line
)

func (f *figure) px(v float64) float64 { return left + f.x.at(v)*(width-left-right) }
func (f *figure) py(v float64) float64 { return height - bottom - f.y.at(v)*(height-top-bottom) }

// within reports whether a point can be drawn.
func (f *figure) within(p point) bool {
	x, y := f.x.at(p.x), f.y.at(p.y)
	return x >= -1e-9 && x <= 1+1e-9 && y >= -1e-9 && y <= 1+1e-9 // false for NaN
}

// SVG draws the figure.
func (f *figure) SVG() template.HTML {
	var b strings.Builder
	put := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	put(`<svg viewBox="0 0 %g %g" role="img" aria-labelledby="%s-title">`, width, height, f.ID)
	put(`<title id="%s-title">%s</title>`, f.ID, html.EscapeString(f.Title))
	for _, o := range f.spans {
		low, high := min(max(f.px(o.low), left), width-right), min(max(f.px(o.high), left), width-right)
		put(`<rect class="span" x="%.1f" y="%g" width="%.1f" height="%g"/>`, low, top, max(1, high-low), height-top-bottom)
	}
	f.axes(put)
	for _, o := range f.bounds {
		y := f.py(o.y)
		put(`<path class="bound" d="M%.1f %.1fH%.1f"/>`, left, y, width-right)
		put(`<text class="bound" x="%.1f" y="%.1f">%s</text>`, left+4, y-4, html.EscapeString(o.label))
	}
	for i := range f.lines {
		f.draw(put, &f.lines[i])
	}
	put(`</svg>`)
	return template.HTML(b.String()) // all text in it is escaped
}

func (f *figure) axes(put func(string, ...any)) {
	last := math.Inf(-1)
	for _, v := range f.x.ticks() {
		x, text := f.px(v), f.x.label(v)
		put(`<path class="grid" d="M%.1f %.1fV%.1f"/>`, x, top, height-bottom)
		half := 4.8 * float64(len([]rune(text)))
		if x-half < last+6 {
			continue // no room for its name
		}
		last = x + half
		put(`<text class="x" x="%.1f" y="%.1f">%s</text>`, min(x, width-half), height-bottom+16, html.EscapeString(text))
	}
	for _, v := range f.y.ticks() {
		y := f.py(v)
		put(`<path class="grid" d="M%.1f %.1fH%.1f"/>`, left, y, width-right)
		put(`<text class="y" x="%.1f" y="%.1f">%s</text>`, left-6, y+4, html.EscapeString(f.y.label(v)))
	}
	put(`<path class="axis" d="M%.1f %.1fV%.1fH%.1f"/>`, left, top, height-bottom, width-right)
	put(`<text class="x" x="%.1f" y="%.1f">%s</text>`, (left+width-right)/2, height-6, html.EscapeString(f.xName))
	middle := (top + height - bottom) / 2
	put(`<text class="x" x="12" y="%.1f" transform="rotate(-90 12 %.1f)">%s</text>`, middle, middle, html.EscapeString(f.yName))
}

func (f *figure) draw(put func(string, ...any), l *line) {
	var d strings.Builder
	pen := "M"
	var before float64
	for _, p := range l.points {
		if !f.within(p) {
			pen = "M" // a gap
			continue
		}
		x, y := f.px(p.x), f.py(p.y)
		if pen == "L" && l.step {
			fmt.Fprintf(&d, "L%.1f %.1f", x, before)
		}
		fmt.Fprintf(&d, "%s%.1f %.1f", pen, x, y)
		pen, before = "L", y
	}
	if !l.loose {
		put(`<path class="line c%d%s" d="%s"/>`, l.colour%colours, l.dash(), d.String())
	}
	if !l.dots {
		return
	}
	for _, p := range l.points {
		if f.within(p) {
			put(`<circle class="c%d" cx="%.1f" cy="%.1f" r="3"><title>%s</title></circle>`,
				l.colour%colours, f.px(p.x), f.py(p.y), html.EscapeString(p.name))
		}
	}
}

func (l *line) dash() string {
	if l.dashed || l.colour >= colours {
		return " dashed"
	}
	return ""
}

// key is an entry of a figure's legend.
type key struct {
	Swatch template.HTML
	Label  string
}

// Legend returns the lines' names; one line has none.
func (f *figure) Legend() (keys []key) {
	for i := range f.lines {
		l := &f.lines[i]
		if l.label == "" {
			continue
		}
		keys = append(keys, key{template.HTML(fmt.Sprintf(
			`<svg class="swatch" viewBox="0 0 24 8" aria-hidden="true"><path class="line c%d%s" d="M0 4H24"/></svg>`,
			l.colour%colours, l.dash())), l.label})
	}
	return keys
}

// empty reports whether there is nothing to draw.
func (f *figure) empty() bool {
	for i := range f.lines {
		if len(f.lines[i].points) > 0 {
			return false
		}
	}
	return true
}

// thin leaves most points at most, the highest of each part, so that no peak is lost.
func thin(points []point) []point {
	if len(points) <= most {
		return points
	}
	short := make([]point, 0, most)
	for i := range most {
		part := points[i*len(points)/most : (i+1)*len(points)/most]
		highest := part[0]
		for _, p := range part {
			if p.y > highest.y {
				highest = p
			}
		}
		short = append(short, highest)
	}
	return short
}

// values returns all x and all y of the lines.
func values(lines []line) (x, y []float64) {
	for i := range lines {
		for _, p := range lines[i].points {
			x, y = append(x, p.x), append(y, p.y)
		}
	}
	return x, y
}
