package conformance

import (
	"fmt"
	"strconv"
	"strings"
)

// token is a word, or a quoted text without its quotes.
type token struct {
	text   string
	quoted bool
}

// lex cuts a line at its spaces. Quoted texts follow Go's rules for interpreted strings.
func lex(line string) ([]token, error) {
	var tokens []token
	for rest := strings.TrimLeft(line, " "); rest != ""; rest = strings.TrimLeft(rest, " ") {
		if rest[0] != '"' {
			word, after, _ := strings.Cut(rest, " ")
			tokens = append(tokens, token{text: word})
			rest = after
			continue
		}
		q, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return nil, fmt.Errorf("the text %s has no end", rest)
		}
		text, err := strconv.Unquote(q)
		if err != nil {
			return nil, fmt.Errorf("text %s: %w", q, err)
		}
		rest = rest[len(q):]
		if rest != "" && rest[0] != ' ' {
			return nil, fmt.Errorf("no space after the text %s", q)
		}
		tokens = append(tokens, token{text: text, quoted: true})
	}
	return tokens, nil
}

// parseNumber accepts what strconv.Itoa prints, so that there is one way to write each
// number, from 0 to MaxNumber.
func parseNumber(t token) (int, bool) {
	n, err := strconv.Atoi(t.text)
	if err != nil || t.quoted || n < 0 || n > MaxNumber || strconv.Itoa(n) != t.text {
		return 0, false
	}
	return n, true
}

// MaxNumber is the largest number in a script: of bytes, milliseconds, or a thing.
const MaxNumber = 1 << 26
