package mux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/kcm-go/kcm/internal/watch"
)

// journal writes changes of state of a shard's connections to Options.Logger. Without one a
// shard has none. Loop's thread.
//
//	connection opened    Debug  psock, remote
//	connection ended     Debug, or Info with its cause, or Error and a stack for a panic
//	connection failed    Info   it never stood; cause
//	connection refused   Warn   address of the listener: MaxPsocks or MaxPsocksPerPeer
//
// Each comes up to a hundred times at once and then ten times a second.
//
// Before there are shards New tells, once, with level Info, that "loops have less memory" than by
// default, with a note.
type journal struct {
	log *slog.Logger

	opened, ended, failed, refused watch.Limit
}

func newJournal(o *Options, loop string) *journal {
	if o.Logger == nil {
		return nil
	}
	often := watch.Limit{Burst: 100, Every: 100 * time.Millisecond}
	return &journal{
		log:    o.Logger.With(slog.String(watch.Mux, o.Name), slog.String(watch.Loop, loop)),
		opened: often, ended: often, failed: often, refused: often,
	}
}

func (o *Options) tellMemory(note string) {
	if o.Logger != nil {
		o.Logger.LogAttrs(context.Background(), slog.LevelInfo, "loops have less memory",
			slog.String(watch.Mux, o.Name), slog.String(watch.Note, note))
	}
}

func (p *Psock) tellOpened() {
	p.stood = true
	if j := p.shard.journal; j != nil {
		watch.Tell(j.log, &j.opened, p.shard.loop.Now(), slog.LevelDebug, "connection opened", p.which()...)
	}
}

// tellEnded is called once the cause is final.
func (p *Psock) tellEnded() {
	j := p.shard.journal
	if j == nil {
		return
	}
	what, level, limit := "connection ended", slog.LevelDebug, &j.ended
	attrs := p.which()
	var panicked *PanicError
	switch {
	case errors.As(p.side.cause, &panicked):
		level = slog.LevelError
		attrs = append(attrs, slog.String(watch.Cause, fmt.Sprintf("handler panicked: %v", panicked.Value)),
			slog.String(watch.Stack, string(panicked.Stack)))
	case p.side.cause != nil:
		level = slog.LevelInfo
		attrs = append(attrs, watch.Because(p.side.cause))
	}
	if !p.stood {
		what, limit = "connection failed", &j.failed
	}
	watch.Tell(j.log, limit, p.shard.loop.Now(), level, what, attrs...)
}

// which are the attributes of p.
func (p *Psock) which() []slog.Attr {
	remote := ""
	if a := p.RemoteAddr(); a != nil {
		remote = a.String()
	}
	return []slog.Attr{slog.Int(watch.Psock, p.Index()), slog.String(watch.Remote, remote)}
}

func (sh *shard) tellRefused(ln net.Listener) {
	if j := sh.journal; j != nil {
		watch.Tell(j.log, &j.refused, sh.loop.Now(), slog.LevelWarn, "connection refused", slog.String(watch.Address, ln.Addr().String()))
	}
}
