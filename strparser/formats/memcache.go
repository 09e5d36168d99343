package formats

import (
	"bytes"

	"github.com/kcm-go/kcm/strparser"
)

var (
	// MemcacheText is requests of memcached's text protocol (memcached doc/protocol.txt),
	// meta commands included: a line, and for the storage commands (set, add, replace,
	// append, prepend, cas, ms) the data block behind it.
	MemcacheText strparser.Format = strparser.ParseFunc(func(v *strparser.View) (int, error) {
		return memcache(v, false)
	})
	// MemcacheReply is the replies of such a server: a line, and for VALUE and VA the
	// data block behind it. The END of several values is a message of its own.
	MemcacheReply strparser.Format = strparser.ParseFunc(func(v *strparser.View) (int, error) {
		return memcache(v, true)
	})
)

// maxCommand is the longest line that has a data block behind it: a key of 250 bytes and
// numbers. memcached itself reads 2048.
const maxCommand = 2048

// memcache returns the length of a line and what belongs to it.
func memcache(v *strparser.View, reply bool) (int, error) {
	end, ok := line(v, 0)
	if !ok {
		return 0, nil
	}
	var b [maxCommand]byte
	text := b[:v.CopyTo(b[:min(end, maxCommand)], 0)]
	command := word(text, 0)
	at := dataLength(command, reply)
	switch {
	case at < 0:
		return end, nil
	case end > maxCommand:
		return 0, bad("memcached", "a line of %d bytes that begins with %q, want at most %d", end, string(command), maxCommand)
	}
	digits := word(text, at)
	n := 0
	for _, c := range digits {
		if c < '0' || c > '9' || n > 1<<30 {
			return 0, bad("memcached", "a data block of %q bytes", string(digits))
		}
		n = n*10 + int(c-'0')
	}
	if len(digits) == 0 {
		return 0, bad("memcached", "a %s without the length of its data block", string(command))
	}
	return end + n + 2, nil
}

// word returns word i of a line, from 0; nil if there are not so many.
func word(text []byte, i int) []byte {
	for ; ; i-- {
		text = bytes.TrimLeft(text, " ")
		n := bytes.IndexAny(text, " \r\n")
		if n <= 0 {
			return nil
		}
		if i == 0 {
			return text[:n]
		}
		text = text[n:]
	}
}

// dataLength returns which word of a line has the length of its data block, -1 for none.
func dataLength(command []byte, reply bool) int {
	if reply {
		switch string(command) {
		case "VALUE":
			return 3
		case "VA":
			return 1
		}
		return -1
	}
	switch string(command) {
	case "set", "add", "replace", "append", "prepend", "cas":
		return 4
	case "ms":
		return 2
	}
	return -1
}
