// Package feed runs a format over a stream cut into chunks, for tests: what comes of it
// must not depend on the cuts.
//
//	r := feed.Run(t, formats.RESP, 1<<20, feed.Cut(rng, stream)...)
//	... r.Messages, r.Left, r.Err
//
// ReadRecording reads messages that encoders of protocols made, from a text.
//
// It is no way to frame messages outside of tests: it copies everything.
package feed
