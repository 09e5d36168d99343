// Package recorded tests strparser/formats with bytes that the protocols' own encoders
// made. It is a module of its own, so that these are nobody's dependency.
//
// For each format a file named after the protocol has an encoder write messages of all
// sizes, one at a time, and where there is one a decoder that is not ours read them: so it
// is known where each ends. TestEncoded then has the format find them in the stream, cut
// anywhere.
//
//	go test -update
//
// writes a part of them to ../testdata, one text for each format, and the tests of
// strparser/formats read those. Do so when an encoder here has changed. Some put random
// bytes into their messages (masks, keys), so that the texts differ each time.
//
// What comes from a server needs no server but two: the replies of memcached are those of
// the program memcached, those in RESP-redis of redis-server, and where these are not
// installed their tests are skipped.
//
// The module has no code beside its tests.
package recorded
