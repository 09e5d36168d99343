package framing

import "slices"

// Cutter is a contestant at work on one source.
type Cutter interface {
	// Cut takes the next chunks of the source, which complete so many messages, and
	// delivers these. Who is given chunks goes by their number; who asks for bytes
	// goes by that of the messages, as it would block for more.
	Cut(chunks, messages int) error

	// Close gives back what the contestant has. It fails if something was lost.
	Close() error
}

// Kind says what a contestant is there for.
type Kind int

const (
	Ours      Kind = iota
	Peer           // what kcm is compared with
	Yardstick      // no library
	ReadOnly       // delivers nothing
)

// Contestant is one way of cutting.
type Contestant struct {
	Name string
	Kind Kind
	Does string // in a few words
	Sets []Set

	open func(src *Source, to Callbacks) (Cutter, error)
}

// Contestants returns all of them; kcm-batch, which the others are compared with, first.
func Contestants() []Contestant {
	both, read := []Set{Read, InPlace}, []Set{Read}
	return []Contestant{
		{"kcm-batch", Ours, "strparser.Parser on a lower, one buffer, a callback per batch", both, openKcm(oneBuffer, true)},
		{"kcm", Ours, "the same with a callback per message", both, openKcm(oneBuffer, false)},
		{"kcm-process", Ours, "Parser.Process with each chunk, one buffer", both, openProcess},
		{"kcm-16MiB", Ours, "as kcm, 256 buffers by turns, as a loop has", read, openKcm(loopBuffers, false)},
		{"bufio-read", Peer, "bufio.Reader, io.ReadFull of header and body", both, openBufioRead},
		{"bufio-peek", Peer, "bufio.Reader, Peek(4), Peek(n), Discard(n)", both, openBufioPeek},
		{"gnet-peek", Peer, "gnet.Conn, Peek(4), Peek(n), Discard(n)", both, openGnet(false)},
		{"gnet-next", Peer, "gnet.Conn, Peek(4), Next(n)", both, openGnet(true)},
		{"netpoll", Peer, "netpoll.Connection, Peek(4), Next(n), Release per chunk", both, openNetpoll},
		{"by hand", Yardstick, "a loop over the chunk", both, openHand},
		{"read only", ReadOnly, "the read alone", read, openReadOnly},
	}
}

// Runs says whether the contestant takes part in the set.
func (c Contestant) Runs(set Set) bool { return slices.Contains(c.Sets, set) }
