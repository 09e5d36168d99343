package mux

// PsockState is where a connection is in its life.
type PsockState uint8

const (
	// Connecting: Dial is at it.
	Connecting PsockState = iota
	// Greeting: it stands, and Options.Handshake gets its messages.
	Greeting
	// Open: it receives and sends.
	Open
	// Leaving: it is ending. Nothing more is received; what is queued may still be sent.
	Leaving
	// Ended: it is closed, or given back.
	Ended
)

func (s PsockState) String() string {
	return [...]string{"connecting", "greeting", "open", "leaving", "ended"}[s]
}

// State returns where the connection is in its life. Only Open takes messages of
// sockets.
func (p *Psock) State() PsockState { return PsockState(p.state.Load()) }

// Err returns what made the connection end: nil while it is open, and when it ended, or is
// ending, in an orderly way. It is what OnClose's error has as its cause.
func (p *Psock) Err() error {
	if e := p.err.Load(); e != nil {
		return *e
	}
	return nil
}
