package ring

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/kcm-go/kcm/internal/watch"
)

// journal writes a loop's changes of state to Options.Logger. Without one a loop has none,
// and nothing is done for it. Loop's thread.
//
//	loop started            Info   backend
//	loop runs on epoll      Warn   cause: why io_uring was refused
//	loop does without       Info   note, one record for each of Loop.Notes
//	loop ended              Info, or Error with its cause
//	listener paused         Warn   address, cause: EMFILE and the like
//	listener accepts again  Info   address
//	receive buffers are short     Warn   free
//	copied out of receive buffers Info   free, bytes of private memory in use
//	stream ended for its memory   Warn   remote, bytes that were queued
//
// All but the first four may come often: five of each at once and then one a second.
type journal struct {
	log   *slog.Logger
	began bool

	paused, accepts, starved, evicted, sacrificed watch.Limit
}

func newJournal(o *Options) *journal {
	if o.Logger == nil {
		return nil
	}
	often := watch.Limit{Burst: 5, Every: time.Second}
	return &journal{
		log:    o.Logger.With(slog.String(watch.Loop, o.Name)),
		paused: often, accepts: often, starved: often, evicted: often, sacrificed: often,
	}
}

// tellBegun is called when the backend is up.
func (l *Loop) tellBegun() {
	j := l.journal
	if j == nil {
		return
	}
	j.began = true
	ctx := context.Background()
	j.log.LogAttrs(ctx, slog.LevelInfo, "loop started", slog.String(watch.Backend, l.Backend()))
	notes := l.Notes()
	if why := refusal(l.be); why != "" {
		j.log.LogAttrs(ctx, slog.LevelWarn, "loop runs on epoll", slog.String(watch.Cause, why))
		notes = notes[1:]
	}
	for _, n := range notes {
		j.log.LogAttrs(ctx, slog.LevelInfo, "loop does without", slog.String(watch.Note, n))
	}
}

// tellEnded is called once, at the end of a loop.
func (l *Loop) tellEnded() {
	j := l.journal
	switch {
	case j == nil || !j.began:
	case l.err != nil:
		j.log.LogAttrs(context.Background(), slog.LevelError, "loop ended", watch.Because(l.err))
	default:
		j.log.LogAttrs(context.Background(), slog.LevelInfo, "loop ended")
	}
}

func (ln *Listener) tellPaused(why error) {
	ln.waits = true
	if j := ln.loop.journal; j != nil {
		watch.Tell(j.log, &j.paused, ln.loop.Now(), slog.LevelWarn, "listener paused", ln.where(), watch.Because(why))
	}
}

func (ln *Listener) tellAccepts() {
	ln.waits = false
	if j := ln.loop.journal; j != nil {
		watch.Tell(j.log, &j.accepts, ln.loop.Now(), slog.LevelInfo, "listener accepts again", ln.where())
	}
}

// where is the attribute Address.
func (ln *Listener) where() slog.Attr {
	local, _ := ln.loop.be.Names(ln.fd)
	return slog.String(watch.Address, text(netAddr(local)))
}

func text(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

func (l *Loop) tellStarved() {
	if j := l.journal; j != nil {
		watch.Tell(j.log, &j.starved, l.Now(), slog.LevelWarn, "receive buffers are short",
			slog.Int(watch.Free, l.mem.recv.Blocks()-l.mem.recv.Held()))
	}
}

// tellEvicted is called after queues were copied out of receive buffers, if any was.
func (l *Loop) tellEvicted(any bool) {
	if j := l.journal; j != nil && any {
		watch.Tell(j.log, &j.evicted, l.Now(), slog.LevelInfo, "copied out of receive buffers",
			slog.Int(watch.Free, l.mem.recv.Blocks()-l.mem.recv.Held()), slog.Int(watch.Bytes, l.mem.spill.InUse()))
	}
}

func (s *Stream) tellSacrificed() {
	l := s.loop
	if j := l.journal; j != nil {
		watch.Tell(j.log, &j.sacrificed, l.Now(), slog.LevelWarn, "stream ended for its memory",
			slog.String(watch.Remote, text(s.RemoteAddr())), slog.Int(watch.Bytes, s.out.Len()))
	}
}
