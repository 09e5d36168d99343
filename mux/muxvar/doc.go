// Package muxvar publishes the counters of a mux.Mux and of its loops with package
// expvar, as JSON:
//
//	muxvar.Publish("kcm", m)
//
//	$ curl -s localhost:6060/debug/vars | jq .kcm.Mux.RxMessages
//
// The value is an object with Fresh, false when a loop did not answer within a second and
// the figures are the last ones there were; Mux, which is mux.Stats; and Loops, an array of
// mux.LoopSample. Names are those of the Go fields, times are in nanoseconds.
//
// Importing this package imports expvar, which registers /debug/vars in
// http.DefaultServeMux. No other package of the module does; package mux and those below
// it neither listen nor register anything.
package muxvar
