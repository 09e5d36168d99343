package conformance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Object is a kind of thing that actions are done to.
type Object string

// The kinds. Actions without an object make things, or look at all of them.
const (
	NoObject Object = ""
	Socket   Object = "socket"
	Conn     Object = "conn"
	Peer     Object = "peer"
)

// Action is one line of a script, parsed. Which fields are used depends on Object and
// Verb; the package comment lists the lines there are.
type Action struct {
	Object Object
	N      int // number of the object, from 1
	Verb   string

	Words   []string // kind, parser, option, call: in the order of the line
	Target  Object   // of attach and unattach
	TargetN int
	Numbers []int    // size, value, protocol, time: in the order of the line
	Flags   []string // in the order of the list of flags
	Data    Data
}

// Has reports whether the action has the flag.
func (a *Action) Has(flag string) bool { return slices.Contains(a.Flags, flag) }

// argKind is what an argument looks like.
type argKind uint8

const (
	argWord   argKind = iota // one of words
	argNumber                // a number
	argTarget                // conn N or socket N
	argFlags                 // any of words, each once, in that order
	argData                  // data, to the end of the line
)

type arg struct {
	kind     argKind
	words    []string
	optional bool
}

// form is the shape of the actions with a verb.
type form struct {
	objects []Object
	verb    string
	args    []arg
}

// Kinds of what open makes.
var (
	socketKinds = []string{"dgram", "seqpacket", "stream"}
	connKinds   = []string{"tcp", "tcp6", "connecting", "listening", "unconnected", "udp", "unix", "file", "none"}
)

// Parsers are the parse functions that attach knows; the first is that of an attach without
// one. doc reads the length where the kernel's document does, at the first byte of the
// chunk, not of the message. The last three are no programs that can be attached.
var Parsers = []string{
	"len32",  // the length of the body
	"incl32", // the length of the whole message
	"errno",  // as len32, but a header with the top bit set is an error
	"more",   // always asks for more
	"doc",    // as len32, from the chunk's first byte
	"badfd", "notprogram", "wrongtype",
}

// Calls are the system calls of try.
var Calls = []string{
	"bind", "connect", "listen", "accept", "getsockname", "getpeername", "shutdown", "socketpair",
	"fionread", "ioctl", "badarg", "mmap",
}

var (
	number   = arg{kind: argNumber}
	optional = arg{kind: argNumber, optional: true}
	target   = arg{kind: argTarget}
	data     = arg{kind: argData}
	level    = word("kcm", "tcp")
	every    = []Object{Socket, Conn, Peer}
	lowers   = []Object{Conn, Peer}
)

func word(words ...string) arg  { return arg{kind: argWord, words: words} }
func flags(words ...string) arg { return arg{kind: argFlags, words: words} }

var forms = []form{
	{[]Object{NoObject}, "open", []arg{word(slices.Concat(socketKinds, connKinds)...), optional}},
	{[]Object{NoObject}, "stats", []arg{word("mux", "conns"), flags("brief")}},
	{[]Object{NoObject}, "wait", []arg{number}},
	{[]Object{NoObject}, "result", []arg{number}},

	{[]Object{Socket}, "clone", nil},
	{[]Object{Socket}, "attach", []arg{target, {kind: argWord, words: Parsers, optional: true}}},
	{[]Object{Socket}, "unattach", []arg{target}},
	{[]Object{Socket}, "send", []arg{flags("more", "eor", "batch", "oob", "fault", "wait"), {kind: argData, optional: true}}},
	{[]Object{Socket}, "sendeach", []arg{flags("batch"), data}},
	{[]Object{Socket}, "recv", []arg{number, flags("peek", "trunc", "waitall", "fault", "wait")}},
	{[]Object{Socket}, "splice", []arg{number, flags("nonblock")}},
	{[]Object{Socket}, "disable", nil},
	{[]Object{Socket}, "enable", nil},
	{[]Object{Socket}, "setsockopt", []arg{level, number, number, number}},
	{[]Object{Socket}, "getsockopt", []arg{level, number, number}},
	{[]Object{Socket}, "try", []arg{word(Calls...)}},
	{[]Object{Socket}, "stats", []arg{word("mux", "sockets", "conns"), flags("brief")}},

	{every, "set", []arg{word("rcvbuf", "sndbuf", "rcvlowat", "rcvtimeo", "sndtimeo"), number}},
	{every, "poll", nil},
	{every, "error", nil},
	{every, "close", nil},

	{lowers, "write", []arg{data}},
	{lowers, "read", nil},
	{lowers, "drain", nil},
	{[]Object{Peer}, "accept", nil},
	{[]Object{Peer}, "fin", nil},
	{[]Object{Peer}, "reset", nil},
}

func formOf(object Object, verb string) *form {
	for i := range forms {
		if f := &forms[i]; f.verb == verb && slices.Contains(f.objects, object) {
			return f
		}
	}
	return nil
}

// ParseAction parses one line. There is one way to write each action: String of the result
// is the line, but for its spaces and quotes.
func ParseAction(line string) (Action, error) {
	tokens, err := lex(line)
	if err != nil {
		return Action{}, err
	}
	var a Action
	if len(tokens) > 0 && !tokens[0].quoted && slices.Contains(every, Object(tokens[0].text)) {
		a.Object = Object(tokens[0].text)
		if len(tokens) < 2 {
			return Action{}, fmt.Errorf("%s without a number", a.Object)
		}
		n, ok := parseNumber(tokens[1])
		if !ok || n == 0 {
			return Action{}, fmt.Errorf("%s %s: want a number from 1", a.Object, tokens[1].text)
		}
		a.N = n
		tokens = tokens[2:]
	}
	if len(tokens) == 0 || tokens[0].quoted {
		return Action{}, fmt.Errorf("no verb")
	}
	a.Verb = tokens[0].text
	f := formOf(a.Object, a.Verb)
	if f == nil {
		return Action{}, fmt.Errorf("no action %q", strings.TrimLeft(string(a.Object)+" "+a.Verb, " "))
	}
	rest, err := a.parseArgs(f, tokens[1:])
	if err != nil {
		return Action{}, fmt.Errorf("%s: %w", a.Verb, err)
	}
	if len(rest) > 0 {
		return Action{}, fmt.Errorf("%s: too much: %q", a.Verb, rest[0].text)
	}
	return a, nil
}

// parseArgs parses the arguments of f and returns the tokens behind them.
func (a *Action) parseArgs(f *form, tokens []token) ([]token, error) {
	for _, x := range f.args {
		if len(tokens) == 0 {
			if x.optional || x.kind == argFlags {
				continue
			}
			return nil, fmt.Errorf("an argument is missing")
		}
		t := tokens[0]
		switch x.kind {
		case argWord:
			if t.quoted || !slices.Contains(x.words, t.text) {
				return nil, fmt.Errorf("%q is none of %s", t.text, strings.Join(x.words, ", "))
			}
			a.Words = append(a.Words, t.text)
			tokens = tokens[1:]
		case argNumber:
			n, ok := parseNumber(t)
			if !ok {
				return nil, fmt.Errorf("%q is no number from 0 to %d", t.text, MaxNumber)
			}
			a.Numbers = append(a.Numbers, n)
			tokens = tokens[1:]
		case argTarget:
			if t.quoted || t.text != string(Conn) && t.text != string(Socket) || len(tokens) < 2 {
				return nil, fmt.Errorf("%q is no conn and no socket", t.text)
			}
			n, ok := parseNumber(tokens[1])
			if !ok || n == 0 {
				return nil, fmt.Errorf("%s %s: want a number from 1", t.text, tokens[1].text)
			}
			a.Target, a.TargetN = Object(t.text), n
			tokens = tokens[2:]
		case argFlags:
			for _, w := range x.words {
				if len(tokens) > 0 && !tokens[0].quoted && tokens[0].text == w {
					a.Flags = append(a.Flags, w)
					tokens = tokens[1:]
				}
			}
		case argData:
			d, err := parseData(tokens)
			if err != nil {
				return nil, err
			}
			a.Data = d
			tokens = nil
		}
	}
	return tokens, nil
}

// String returns the action as scripts have it.
func (a Action) String() string {
	var parts []string
	if a.Object != NoObject {
		parts = append(parts, string(a.Object), strconv.Itoa(a.N))
	}
	parts = append(parts, a.Verb)
	f := formOf(a.Object, a.Verb)
	if f == nil {
		return strings.Join(parts, " ")
	}
	words, numbers := a.Words, a.Numbers
	for _, x := range f.args {
		switch x.kind {
		case argWord:
			if len(words) > 0 {
				parts = append(parts, words[0])
				words = words[1:]
			}
		case argNumber:
			if len(numbers) > 0 {
				parts = append(parts, strconv.Itoa(numbers[0]))
				numbers = numbers[1:]
			}
		case argTarget:
			parts = append(parts, string(a.Target), strconv.Itoa(a.TargetN))
		case argFlags:
			parts = append(parts, a.Flags...)
		case argData:
			if len(a.Data) > 0 {
				parts = append(parts, a.Data.String())
			}
		}
	}
	return strings.Join(parts, " ")
}
