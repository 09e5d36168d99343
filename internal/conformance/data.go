package conformance

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// MaxData is how many bytes the data of one action may have.
const MaxData = 1 << 25

// HeaderSize is the size of a message's header, a big endian length of the body.
const HeaderSize = 4

// failBit marks a header of which the parser "errno" makes an error.
const failBit = 1 << 31

// PieceKind tells the kinds of data.
type PieceKind uint8

// The kinds.
const (
	Raw  PieceKind = iota // the runs, as they are
	Msg                   // a header, then the runs
	Head                  // a header for a body of N bytes
	Fail                  // a header that means the error N
)

// Piece is a part of the data of an action.
type Piece struct {
	Kind PieceKind
	Runs []Run // of Raw and Msg, at least one
	N    int   // of Head and Fail
}

// Run is a text that is repeated up to a size.
type Run struct {
	Text  string
	Size  int  // in bytes
	Sized bool // Size is written
	Hex   bool // written as hex digits, never sized
}

// Data is what is written or sent: its pieces one behind the other.
type Data []Piece

// Bytes returns the bytes of the piece.
func (p Piece) Bytes() []byte {
	var b []byte
	switch p.Kind {
	case Head:
		return binary.BigEndian.AppendUint32(nil, uint32(p.N))
	case Fail:
		return binary.BigEndian.AppendUint32(nil, failBit|uint32(p.N))
	case Msg:
		b = binary.BigEndian.AppendUint32(nil, uint32(p.Len()-HeaderSize))
	}
	for _, r := range p.Runs {
		b = r.append(b)
	}
	return b
}

// Len returns the number of bytes of the piece.
func (p Piece) Len() int {
	n := 0
	if p.Kind != Raw {
		n = HeaderSize
	}
	for _, r := range p.Runs {
		n += r.Size
	}
	return n
}

func (r Run) append(b []byte) []byte {
	for n := r.Size; n > 0; {
		k := min(n, len(r.Text))
		b = append(b, r.Text[:k]...)
		n -= k
	}
	return b
}

// Bytes returns the bytes of all pieces.
func (d Data) Bytes() []byte {
	var b []byte
	for _, p := range d {
		b = append(b, p.Bytes()...)
	}
	return b
}

// String returns the data as scripts have it.
func (d Data) String() string {
	var parts []string
	for _, p := range d {
		parts = append(parts, p.String())
	}
	return strings.Join(parts, " ")
}

func (p Piece) String() string {
	switch p.Kind {
	case Head:
		return "head " + strconv.Itoa(p.N)
	case Fail:
		return "fail " + strconv.Itoa(p.N)
	}
	var runs []string
	for _, r := range p.Runs {
		runs = append(runs, r.String())
	}
	text := strings.Join(runs, " + ")
	if p.Kind == Msg {
		text = "msg " + text
	}
	return text
}

func (r Run) String() string {
	switch {
	case r.Hex:
		return "hex " + hex.EncodeToString([]byte(r.Text))
	case r.Sized:
		return strconv.Itoa(r.Size) + " " + strconv.Quote(r.Text)
	}
	return strconv.Quote(r.Text)
}

// parseData parses all tokens as data.
func parseData(tokens []token) (Data, error) {
	var d Data
	total := 0
	for len(tokens) > 0 {
		var p Piece
		t := tokens[0]
		switch {
		case !t.quoted && (t.text == "head" || t.text == "fail"):
			p.Kind = Head
			if t.text == "fail" {
				p.Kind = Fail
			}
			if len(tokens) < 2 {
				return nil, fmt.Errorf("%s needs a number", t.text)
			}
			n, ok := parseNumber(tokens[1])
			if !ok {
				return nil, fmt.Errorf("%s %s: want a number", t.text, tokens[1].text)
			}
			p.N = n
			tokens = tokens[2:]
		default:
			if !t.quoted && t.text == "msg" {
				p.Kind = Msg
				tokens = tokens[1:]
			}
			var err error
			if p.Runs, tokens, err = parseRuns(tokens); err != nil {
				return nil, err
			}
		}
		// Each run is bounded, so the sum cannot overflow before it is looked at.
		if total += p.Len(); total > MaxData {
			return nil, fmt.Errorf("more than %d bytes of data", MaxData)
		}
		d = append(d, p)
	}
	return d, nil
}

// parseRuns parses runs joined by "+" and returns the tokens behind them.
func parseRuns(tokens []token) ([]Run, []token, error) {
	var runs []Run
	total := 0
	for {
		if len(tokens) == 0 {
			return nil, nil, fmt.Errorf("data is missing")
		}
		var r Run
		t := tokens[0]
		switch {
		case t.quoted:
			r = Run{Text: t.text, Size: len(t.text)}
			tokens = tokens[1:]
		case t.text == "hex":
			if len(tokens) < 2 {
				return nil, nil, fmt.Errorf("hex needs digits")
			}
			b, err := hex.DecodeString(tokens[1].text)
			if err != nil || tokens[1].quoted || len(b) == 0 || hex.EncodeToString(b) != tokens[1].text {
				return nil, nil, fmt.Errorf("hex %s: want pairs of lower-case digits", tokens[1].text)
			}
			r = Run{Text: string(b), Size: len(b), Hex: true}
			tokens = tokens[2:]
		default:
			n, ok := parseNumber(t)
			if !ok {
				return nil, nil, fmt.Errorf("%q is no data", t.text)
			}
			if len(tokens) < 2 || !tokens[1].quoted || tokens[1].text == "" {
				return nil, nil, fmt.Errorf("a text must follow the size %d", n)
			}
			r = Run{Text: tokens[1].text, Size: n, Sized: true}
			tokens = tokens[2:]
		}
		runs = append(runs, r)
		if total += r.Size; total > MaxData {
			return nil, nil, fmt.Errorf("more than %d bytes of data", MaxData)
		}
		if len(tokens) == 0 || tokens[0] != (token{text: "+"}) {
			return runs, tokens, nil
		}
		tokens = tokens[1:]
	}
}
