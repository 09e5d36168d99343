package strparser

import (
	"fmt"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/sgmsg"
)

// DefaultMaxMessage is the limit that a zero Options.MaxMessage stands for.
const DefaultMaxMessage = 1 << 20

// Options are what the upper gives its parsers: the callbacks and the limits.
// Format and Message are required.
//
// In receive-callback mode every callback runs on the lower's thread, inside a
// call made into the parser there. In general mode it runs inside Process, EOF
// or LowerError, or, with the lock held, inside Expire. Callbacks of one parser
// never overlap; they must not block, must not panic, and must not call Done.
// They may call Pause, Stop and the accessors.
type Options struct {
	// Format finds the length of each message. A bare function is made a Format
	// by [ParseFunc]. A [Length] is recognised and parsed without a call.
	Format Format

	// Message gets each complete message, once, in stream order. m is lent: what
	// the callback does not MoveTo or Take elsewhere is released when it returns.
	Message func(p *Parser, m *sgmsg.Message)

	// Batch, if not nil and Format is a [Length], gets messages that lie whole in a
	// chunk, up to 64 at a time. The others come through Message, in their place in
	// the stream: those that are cut, and whole ones near the end of a chunk, with
	// less than 8 bytes of it from the length field on. So both handle a message
	// fully. With any other Format it is never called. Pause and Stop inside it take
	// effect behind the batch: all of it is delivered.
	Batch func(p *Parser, b *Batch)

	// MaxMessage is the largest message accepted, in bytes, header included. 0
	// means DefaultMaxMessage.
	MaxMessage int

	// AssemblyTimeout bounds the time from the first bytes of a message to its
	// last, for messages that have to wait for bytes. It is not extended when
	// some arrive. 0 means no limit.
	AssemblyTimeout time.Duration

	// ReadDone, if not nil, is called at the end of each read loop with the
	// loop's error (nil, ENOMEM or an *AbortError); what it returns takes the
	// error's place. ENOMEM means "try again". Receive-callback mode only.
	ReadDone func(p *Parser, err error) error

	// Abort, if not nil, replaces what happens on an error: [Parser.Abort],
	// which it may call. The message in progress and its timer are gone when it
	// runs. It has to stop the parser and tell whoever should know.
	Abort func(p *Parser, err *AbortError)

	// Lock and Unlock surround Check and Expire. Both are required in general
	// mode, where they must exclude Process. A lower calls these two on its own
	// thread, so in receive-callback mode no lock is needed.
	Lock, Unlock func(p *Parser)

	// Alloc is the source of private memory in general mode, and required there.
	// In receive-callback mode the lower is the source.
	Alloc sgmsg.Allocator

	// StartTimer and StopTimer are the timer in general mode; see [Lower]. Without
	// them messages cannot time out.
	StartTimer func(p *Parser, d time.Duration, gen uint32)
	StopTimer  func(p *Parser)
}

// Profile is a checked and immutable copy of Options that any number of parsers
// share, so that a parser inside a connection costs no more than its own state.
// Safe for concurrent use.
type Profile struct {
	opt    Options
	prefix prefix // of a Length format; width 0 for any other
}

// NewProfile checks the options and copies them. Errors wrap EINVAL.
func NewProfile(o Options) (*Profile, error) {
	invalid := func(what string) (*Profile, error) {
		return nil, fmt.Errorf("strparser: %s: %w", what, syscall.EINVAL)
	}
	switch {
	case o.Format == nil:
		return invalid("Options.Format is required")
	case o.Message == nil:
		return invalid("Options.Message is required")
	case o.MaxMessage < 0:
		return invalid(fmt.Sprintf("Options.MaxMessage %d is negative", o.MaxMessage))
	case o.AssemblyTimeout < 0:
		return invalid(fmt.Sprintf("Options.AssemblyTimeout %v is negative", o.AssemblyTimeout))
	case (o.Lock == nil) != (o.Unlock == nil):
		return invalid("Options.Lock and Unlock come together")
	case (o.StartTimer == nil) != (o.StopTimer == nil):
		return invalid("Options.StartTimer and StopTimer come together")
	}
	pr := &Profile{opt: o}
	if pr.opt.MaxMessage == 0 {
		pr.opt.MaxMessage = DefaultMaxMessage
	}
	var err error
	switch l := o.Format.(type) {
	case Length:
		pr.prefix, err = l.compile()
	case *Length:
		pr.prefix, err = l.compile()
	}
	if err != nil {
		return nil, err
	}
	return pr, nil
}

// Init makes p a new parser over the lower, or in general mode if lower is nil.
// owner is kept for [Parser.Owner]. Errors wrap EINVAL; then p is unusable.
//
// Nothing is read: for bytes that may be on the lower already call CheckRcv. A
// Parser is initialised once, or again after Done.
func (pr *Profile) Init(p *Parser, lower Lower, owner any) error {
	if lower == nil {
		var missing string
		switch {
		case pr.opt.Lock == nil:
			missing = "Lock and Unlock"
		case pr.opt.Alloc == nil:
			missing = "Alloc"
		case pr.opt.AssemblyTimeout > 0 && pr.opt.StartTimer == nil:
			missing = "StartTimer and StopTimer"
		}
		if missing != "" {
			return fmt.Errorf("strparser: general mode needs Options.%s: %w", missing, syscall.EINVAL)
		}
	}
	*p = Parser{profile: pr, lower: lower, owner: owner}
	return nil
}

// New returns a parser with options of its own; lower is nil in general mode.
// Errors wrap EINVAL.
func New(lower Lower, o Options) (*Parser, error) {
	pr, err := NewProfile(o)
	if err != nil {
		return nil, err
	}
	p := new(Parser)
	if err := pr.Init(p, lower, nil); err != nil {
		return nil, err
	}
	return p, nil
}
