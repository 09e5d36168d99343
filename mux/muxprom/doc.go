// Package muxprom is a collector of a mux.Mux and its loops for Prometheus:
//
//	prometheus.MustRegister(muxprom.New(m))
//
// Figures of the Mux have the label mux, its name (mux.Options.Name), those of loops also the
// label loop. Nothing has a label for each connection: their number is not ours to choose, and
// each would be a time series. mux.Mux.Snapshot has what connections have counted.
//
// Each scrape takes a sample, which takes every loop a turn. When a loop does not answer
// within a second, because a handler does not return, the figures are the last ones there
// were, and kcm_mux_up is 0.
//
// dashboard.json is a dashboard for Grafana.
//
// The package is a module of its own, so that programs without it do not get Prometheus's
// client library.
package muxprom
