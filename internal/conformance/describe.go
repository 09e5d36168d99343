package conformance

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// longRun is the number of equal bytes from which they are told as a size and one of
// them.
const longRun = 8

// maxErrno is the largest error number of Linux.
const maxErrno = 4095

// Describe tells the bytes b as data: messages where there are any, headers that mean an
// error or whose message is cut off, and what is no message as texts. Parsing what it returns gives b again.
//
// The bytes of b are taken for a message when they begin with 00, as the headers of scripts do
// and their texts do not.
func Describe(b []byte) string { return describe(b).String() }

func describe(b []byte) Data {
	var d Data
	for len(b) > 0 {
		if b[0] == 0 && len(b) >= HeaderSize {
			n := int(binary.BigEndian.Uint32(b))
			b = b[HeaderSize:]
			if n > len(b) {
				d = append(d, Piece{Kind: Head, N: n})
				if len(b) > 0 {
					d = append(d, Piece{Runs: runsOf(b)})
				}
				return d
			}
			d = append(d, Piece{Kind: Msg, Runs: runsOf(b[:n])})
			b = b[n:]
			continue
		}
		if len(b) >= HeaderSize && b[0] == failBit>>24 {
			if n := binary.BigEndian.Uint32(b) &^ failBit; n <= maxErrno {
				d = append(d, Piece{Kind: Fail, N: int(n)})
				b = b[HeaderSize:]
				continue
			}
		}
		// No message: up to where one may begin.
		n := len(b)
		if b[0] != 0 {
			if i := bytes.IndexByte(b, 0); i > 0 {
				n = i
			}
		}
		d = append(d, Piece{Runs: runsOf(b[:n])})
		b = b[n:]
	}
	return d
}

// DescribeWhole tells the whole messages of b, and "part" for one that is cut off.
func DescribeWhole(b []byte) string {
	d := describe(b)
	for i, p := range d {
		if p.Kind == Head {
			return strings.TrimLeft(d[:i].String()+" part", " ")
		}
	}
	return d.String()
}

// runsOf cuts b into runs: printable texts, long runs of one byte, and hex for the rest.
func runsOf(b []byte) []Run {
	if len(b) == 0 {
		return []Run{{}}
	}
	var runs []Run
	for len(b) > 0 {
		n := same(b)
		if n >= longRun && printable(b[0]) {
			runs = append(runs, Run{Text: string(b[:1]), Size: n, Sized: true})
			b = b[n:]
			continue
		}
		text := printable(b[0])
		n = 1
		for n < len(b) && printable(b[n]) == text && !(text && same(b[n:]) >= longRun) {
			n++
		}
		runs = append(runs, Run{Text: string(b[:n]), Size: n, Hex: !text})
		b = b[n:]
	}
	return runs
}

// same returns how many bytes at the start of b are equal.
func same(b []byte) int {
	n := 1
	for n < len(b) && b[n] == b[0] {
		n++
	}
	return n
}

func printable(c byte) bool { return c >= ' ' && c < 0x7f }
