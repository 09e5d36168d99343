// Package page makes a page of HTML of reports of runs: percentile curves, latency over
// time, latency against throughput beside the target and the ideal, paired comparison,
// tables of figures and of the machine. The page is one file that needs no network and
// runs no script; it follows the reader's choice of light or dark, fits a phone, and
// prints.
//
//	reports ──> groups: equal settings ──> figures (SVG) ──┐
//	                                       tables ─────────┴──> template ──> HTML
//
//	p := page.Page{Title: "mux, inline", Runs: []page.Run{{Name: "a.json", Report: rep}}}
//	err := p.WriteHTML(w)
//
// Runs with equal settings are a group. Its curve is that of all their messages, as their
// histograms add up; each run is a point against throughput and a line of the table.
//
// It measures nothing and judges nothing: the verdict is the report's, differences are
// those that package bench/judge found.
package page
