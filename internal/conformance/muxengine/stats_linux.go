package muxengine

import (
	"fmt"
	"strings"

	"github.com/kcm-go/kcm/internal/conformance"
	"github.com/kcm-go/kcm/internal/conformance/figures"
	"github.com/kcm-go/kcm/mux"
)

// stats returns the figures of one multiplexor.
func (e *Engine) stats(g *group, a *conformance.Action) string {
	var text strings.Builder
	if err := mux.WriteKCM(&text, g.mux.Snapshot()); err != nil {
		return name(err)
	}
	all, err := figures.ParseMuxes(text.String(), a.Has("brief"))
	if err != nil {
		return name(err)
	}
	if len(all) != 1 {
		return fmt.Sprintf("%d multiplexors, want 1", len(all))
	}
	list := []string{all[0].Total}
	switch a.Words[0] {
	case "sockets":
		list = all[0].Sockets
	case "conns":
		list = all[0].Conns
	}
	if len(list) == 0 {
		return "none"
	}
	return conformance.Join(list...)
}

// totals returns the figures of all multiplexors.
func (e *Engine) totals(a *conformance.Action) string {
	var all []mux.Snapshot
	for _, g := range e.muxes {
		if err := g.make(conformance.Parsers[0], 0, 0); err != nil {
			return name(err)
		}
		all = append(all, g.mux.Snapshot())
	}
	var list, sums strings.Builder
	if err := mux.WriteKCM(&list, all...); err != nil {
		return name(err)
	}
	if err := mux.WriteKCMStats(&sums, all...); err != nil {
		return name(err)
	}
	muxes, conns, err := figures.ParseTotals(sums.String(), a.Has("brief"))
	if err != nil {
		return name(err)
	}
	if a.Words[0] == "conns" {
		if conns == "" {
			conns = "none"
		}
		return conns
	}
	n, err := figures.CountMuxes(list.String())
	if err != nil {
		return name(err)
	}
	return conformance.Join("muxes", fmt.Sprint(n), muxes)
}
