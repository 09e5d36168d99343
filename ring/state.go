package ring

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/kcm-go/kcm/internal/watch"
	"github.com/kcm-go/kcm/ring/internal/backend"
)

// answerTime is how long WriteState waits for the loop.
const answerTime = time.Second

// WriteState writes what the loop is at, for people, when a server does not do what it
// should: its memory, queues and timers, and a line for each endpoint with its state, the
// operations in flight and what waits in it. The form may change.
//
// It may be called from any goroutine, and asks the loop, which spends some 100 ns on each
// endpoint. If the loop does not answer within a second, because a handler does not return,
// the stack of its goroutine is written in place of that. Errors are those of w.
func (l *Loop) WriteState(w io.Writer) error {
	var b bytes.Buffer
	name := fmt.Sprintf("loop %q: %s", l.opt.Name, l.Backend())
	got := make(chan *loopState, 1)
	take := func() { got <- l.state() }
	limit := time.NewTimer(answerTime)
	defer limit.Stop()
	switch {
	case !l.begun.Load() && !l.manual:
		fmt.Fprintf(&b, "%s, not started\n", name)
		_, err := w.Write(b.Bytes())
		return err
	case l.OnThread():
		select {
		case <-l.stopped:
		default:
			take()
		}
	default:
		l.Post(take) // a loop that ends runs it
	}
	select {
	case s := <-got:
		s.write(&b, name)
	case <-l.stopped:
		fmt.Fprintf(&b, "%s, ended", name)
		if l.err != nil {
			fmt.Fprintf(&b, ": %v", l.err)
		}
		b.WriteByte('\n')
	case <-limit.C:
		fmt.Fprintf(&b, "%s, does not answer for %v\n", name, answerTime)
		if err := watch.Stacks(&b, "  ", watch.LabelLoop, l.opt.Name, ""); err != nil {
			return err
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// loopState is what a loop knows of itself, taken on its thread and written elsewhere.
type loopState struct {
	opt     *Options
	stats   LoopStats
	notes   []string
	given   int // receive buffers with the backend
	posted  int
	timers  int
	next    time.Duration // until the first timer; or negative
	spin    time.Duration
	stop    bool
	lists   [listKinds]int
	streams []streamLine
	others  []endpointLine
}

// streamLine is a stream's line.
type streamLine struct {
	id, gen           uint32
	fd                int32
	state             streamState
	ops, ending       uint16
	member            uint8
	unread, want      int
	out, pushed       int
	written           uint64
	body, filled      uint32
	eof, shut         bool
	detach, waited    bool
	failed, rerr      error
	remote            net.Addr
	expires, stallsIn time.Duration // until its timers; negative: not armed
}

// endpointLine is a listener's line, or that of another endpoint, of which only the slot
// and the type are known.
type endpointLine struct {
	id, gen uint32
	fd      int
	kind    string
	local   backend.Addr
	state   string
}

// state takes the loop's. Loop's thread.
func (l *Loop) state() *loopState {
	s := &loopState{
		opt: &l.opt, stats: l.snapshot(), notes: l.Notes(), given: l.mem.free,
		timers: l.wheel.count, next: -1, spin: l.spin.budget, stop: l.stop,
		streams: make([]streamLine, 0, l.live),
	}
	if l.wheel.count > 0 {
		s.next = l.wheel.until(l.wheel.nextTick())
	}
	for t := l.inbox.head.Load(); t != nil && t != closedInbox; t = t.next {
		s.posted++
	}
	for _, q := range [...]*streamList{&l.ready, &l.dirty, &l.stuck, &l.dying, &l.starved, &l.queued, &l.held, &l.eager} {
		s.lists[q.kind] = q.n
	}
	for id := range l.slots {
		switch gen := l.slots[id].gen; ep := l.slots[id].ep.(type) {
		case nil:
		case *Stream:
			s.streams = append(s.streams, ep.line())
		case *Listener:
			x := endpointLine{id: uint32(id), gen: gen, fd: ep.fd, kind: "listener", state: ep.word()}
			x.local, _ = l.be.Names(ep.fd)
			s.others = append(s.others, x)
		case *Packet:
			x := endpointLine{id: uint32(id), gen: gen, fd: ep.fd, kind: "datagrams", state: ep.word()}
			x.local, _ = l.be.Names(ep.fd)
			s.others = append(s.others, x)
		default:
			s.others = append(s.others, endpointLine{id: uint32(id), gen: gen, fd: -1, kind: fmt.Sprintf("%T", ep)})
		}
	}
	return s
}

// until is the time to a tick.
func (w *wheel) until(at int64) time.Duration { return time.Duration(max(at-w.now, 0)) * tick }

func (l *Loop) remaining(t *Timer) time.Duration {
	if !t.Armed() {
		return -1
	}
	return l.wheel.until(t.when)
}

func (s *Stream) line() streamLine {
	return streamLine{
		id: s.id, gen: s.gen, fd: s.fd, state: s.state, ops: s.ops, ending: s.ending, member: s.member,
		unread: s.unread.Len(), want: int(s.want), out: s.out.Len(), pushed: s.Pushed(), written: s.Written(),
		body: s.side.body.Len, filled: s.side.filled, eof: s.eof, shut: s.shut, detach: s.side.detach != nil, waited: s.side.waiters != nil,
		failed: s.side.failed, rerr: s.side.rerr, remote: s.RemoteAddr(),
		expires: s.loop.remaining(&s.side.timer), stallsIn: s.loop.remaining(&s.side.stall),
	}
}

func (ln *Listener) word() string {
	switch {
	case ln.dead:
		return "ending"
	case ln.pause.Armed():
		return "paused: no descriptors or memory"
	}
	return "accepting"
}

// word tells what the endpoint is at.
func (p *Packet) word() string {
	w := p.state.String()
	if p.member&(1<<packetStarved) != 0 {
		w += ", no receive buffer"
	}
	if p.out.n > 0 {
		w += fmt.Sprintf(", %d queued (%d bytes)", p.out.n, p.out.bytes)
	}
	return w
}

func (st streamState) String() string {
	return [...]string{"connecting", "open", "draining", "closing", "gone"}[st]
}

func (s *loopState) write(b *bytes.Buffer, name string) {
	fmt.Fprintf(b, "%s, turn %d", name, s.stats.Turns)
	if s.opt.Pin && s.opt.CPU >= 0 {
		fmt.Fprintf(b, ", pinned to CPU %d", s.opt.CPU)
	}
	if s.stop {
		b.WriteString(", closing")
	}
	b.WriteByte('\n')
	for _, n := range s.notes {
		fmt.Fprintf(b, "  note: %s\n", n)
	}
	fmt.Fprintf(b, "  receive buffers: %d of %d bytes, %d with the back end, %d held\n",
		s.stats.Buffers, s.opt.BufferSize, s.given, s.stats.Buffers-s.stats.BuffersFree)
	fmt.Fprintf(b, "  memory in use: %d of %d bytes of the large region, %d of %d private\n",
		s.stats.RegionUsed, s.opt.RegionBytes, s.stats.SpillUsed, s.opt.SpillBytes)
	fmt.Fprintf(b, "  posted: %d; timers: %d", s.posted, s.timers)
	if s.next >= 0 {
		fmt.Fprintf(b, ", the next within %v", s.next)
	}
	fmt.Fprintf(b, "; spin budget: %v\n", s.spin)
	n := &s.lists
	fmt.Fprintf(b, "  streams with news: %d; to send: %d; without write space: %d; closing: %d; "+
		"without receive buffer: %d; without region: %d; holding buffers: %d; reading ahead: %d\n",
		n[inReady], n[inDirty], n[inStuck], n[inDying], n[inStarved], n[inQueued], n[inHeld], n[inEager])
	for i := range s.others {
		x := &s.others[i]
		fmt.Fprintf(b, "  %s %d.%d", x.kind, x.id, x.gen)
		if x.fd >= 0 {
			fmt.Fprintf(b, " fd %d %s: %s", x.fd, text(netAddr(x.local)), x.state)
		}
		b.WriteByte('\n')
	}
	if len(s.streams) == 0 {
		return
	}
	fmt.Fprintf(b, "  %-10s %-6s %-10s %9s %9s %9s %9s %12s  %-20s %s\n",
		"stream", "fd", "state", "unread", "wanted", "out", "pushed", "sent", "in flight", "remote")
	for i := range s.streams {
		s.streams[i].write(b)
	}
}

func (x *streamLine) write(b *bytes.Buffer) {
	fmt.Fprintf(b, "  %-10s %-6d %-10s %9d %9d %9d %9d %12d  %-20s %s", fmt.Sprintf("%d.%d", x.id, x.gen), x.fd, x.state,
		x.unread, x.want, x.out, x.pushed, x.written, inFlight(x.ops, x.ending), text(x.remote))
	say := func(applies bool, format string, args ...any) {
		if applies {
			b.WriteString("; ")
			fmt.Fprintf(b, format, args...)
		}
	}
	say(x.member&(1<<inStarved) != 0, "waits for a receive buffer")
	say(x.member&(1<<inQueued) != 0, "waits for the large region")
	say(x.member&(1<<inStuck) != 0, "waits for write space")
	say(x.body > 0, "body %d of %d", x.filled, x.body)
	say(x.waited, "others wait for it")
	say(x.eof, "the peer has finished")
	say(x.shut, "we have finished")
	say(x.detach, "to be given back")
	say(x.rerr != nil, "receiving: %v", x.rerr)
	say(x.failed != nil, "sending: %v", x.failed)
	say(x.expires >= 0, "timer in %v", x.expires)
	say(x.stallsIn >= 0, "ends in %v", x.stallsIn)
	b.WriteByte('\n')
}

// inFlight names the operations of a set; one that was cancelled and has not ended is in
// brackets.
func inFlight(ops, ending uint16) string {
	var names []string
	for op := backend.OpAccept; op <= backend.OpRecvMsg; op++ {
		switch {
		case ops&bit(op) == 0:
		case ending&bit(op) != 0:
			names = append(names, "("+op.String()+")")
		default:
			names = append(names, op.String())
		}
	}
	if ops&guest != 0 {
		names = append(names, "write")
	}
	if names == nil {
		return "-"
	}
	return strings.Join(names, ",")
}
