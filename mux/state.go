package mux

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kcm-go/kcm/internal/watch"
)

// answerTime is how long WriteState waits for the loops.
const answerTime = time.Second

// WriteState writes what the Mux is at, for people, when a server does not do what it
// should: what its loops write (ring.Loop.WriteState), the queues before and behind the
// workers, where the workers are in the program, a line for each socket and connection, and
// the pools. The form may change; Stats and Snapshot are for programs.
//
// It may be called from any goroutine. The loops are asked all at once, and each spends
// less than a microsecond on each of its connections. One that does not answer within a
// second, because a handler does not return, is known by its stack, and its connections are
// left out. Errors are those of w.
func (m *Mux) WriteState(w io.Writer) error {
	loops, rows, silent := m.askState()
	var b bytes.Buffer
	m.mu.Lock()
	state, servers, workers, pools := m.state, len(m.servers), m.workers, slices.Collect(maps.Keys(m.pools))
	m.mu.Unlock()
	fmt.Fprintf(&b, "mux %q: %s, policy %v, %d connections, %d listeners, %d workers\n",
		m.Name(), state, m.opt.Policy, m.Psocks(), servers, workers)

	snaps := map[*Psock]*psockRow{}
	for p, r := range rows {
		snaps[p] = &r.psockRow
	}
	sockets := map[*Socket]*SocketStats{}
	m.steer.writeState(&b, sockets, snaps, rows)
	m.tx.writeState(&b, sockets, snaps)
	if cl := m.client.Load(); cl != nil {
		fmt.Fprintf(&b, "  calls out: %d\n", cl.InFlight())
	}
	for i, c := range pools {
		for _, h := range c.Health() {
			fmt.Fprintf(&b, "  pool %d: %s %v for %v", i, h.Address, h.State, h.For.Round(time.Millisecond))
			say(&b, h.Failures > 0, "failed %d times: %v", h.Failures, h.Cause)
			say(&b, h.State == ConnWaiting, "again in %v", h.RetryIn.Round(time.Millisecond))
			b.WriteByte('\n')
		}
	}
	if workers > 0 {
		if err := watch.Stacks(&b, "  ", watch.LabelMux, m.Name(), watch.LabelWorker); err != nil {
			return err
		}
	}
	writeSockets(&b, slices.Collect(maps.Values(sockets)))
	writePsocks(&b, slices.Collect(maps.Values(rows)))
	for _, sh := range silent {
		fmt.Fprintf(&b, "  of loop %q, which does not answer, %d connections\n", sh.loop.Options().Name, sh.load.Load())
	}
	for i := range loops {
		b.Write(loops[i].Bytes())
	}
	_, err := w.Write(b.Bytes())
	return err
}

// stateRow is a connection's line, taken on its loop.
type stateRow struct {
	psockRow
	loop  string
	fd    int
	held  int  // pauses
	later bool // waits for its work to end
	owed  int64
	bars  uint32 // its flow's gate

	backlog int // messages, under steer.mu
}

// askState asks all loops, and waits for them until the time is over: silent are those that
// have not answered.
func (m *Mux) askState() (loops []bytes.Buffer, rows map[*Psock]*stateRow, silent []*shard) {
	type answer struct {
		of   *shard
		rows map[*Psock]*stateRow
	}
	answers := make(chan answer, len(m.shards)) // for late ones too
	loops, rows = make([]bytes.Buffer, len(m.loops)), map[*Psock]*stateRow{}
	var wg sync.WaitGroup
	for i, sh := range m.shards {
		take := func() {
			a := answer{sh, make(map[*Psock]*stateRow, len(sh.psocks))}
			for _, p := range sh.psocks {
				a.rows[p] = p.stateRow()
			}
			answers <- a
		}
		if sh.loop.OnThread() || !sh.loop.Post(take) { // here, or where nobody is any more
			take()
			_ = sh.loop.WriteState(&loops[i]) // a buffer takes everything
			continue
		}
		wg.Go(func() { _ = sh.loop.WriteState(&loops[i]) })
	}
	limit := time.NewTimer(answerTime)
	defer limit.Stop()
	pending := slices.Clone(m.shards)
wait:
	for len(pending) > 0 {
		select {
		case a := <-answers:
			maps.Copy(rows, a.rows)
			pending = slices.DeleteFunc(pending, func(sh *shard) bool { return sh == a.of })
		case <-limit.C:
			break wait
		}
	}
	wg.Wait()
	return loops, rows, pending
}

// stateRow is what the loop knows of a connection. Loop's thread.
func (p *Psock) stateRow() *stateRow {
	return &stateRow{
		psockRow: *p.row(), loop: p.shard.loop.Options().Name, fd: p.stream.FD(),
		held: int(p.holds), later: p.side.later != nil, owed: p.flow.owed.Load(), bars: p.flow.gate.Load(),
	}
}

func (s muxState) String() string { return [...]string{"running", "shutting down", "closed"}[s] }

// writeState writes the receiving side, and fills in the rows.
func (st *steer) writeState(b *bytes.Buffer, sockets map[*Socket]*SocketStats, snaps map[*Psock]*psockRow, rows map[*Psock]*stateRow) {
	var s Stats
	st.report(&s)
	st.snapshot(sockets, snaps)
	parked, held, waiting := 0, 0, 0
	st.lock()
	for x := st.parked.head; x != nil; x = x.next {
		parked++
	}
	for x := st.hold.head; x != nil; x = x.next {
		held += x.rest()
	}
	for _, r := range rows {
		for x := r.flow.backlog.head; x != nil; x = x.next {
			r.backlog += x.rest()
		}
	}
	readers := *st.readers.Load()
	for _, rd := range readers {
		if rd.state != busy {
			waiting++
		}
	}
	behind := st.waiting
	st.unlock()
	fmt.Fprintf(b, "  waiting for readers: %d messages, of which behind others of their connection %d (%d bytes), "+
		"held for a socket %d, of parked connections %d; ", s.Queued, behind, st.behind.Load(), held, parked)
	if !st.fifo {
		fmt.Fprintf(b, "charged %d of %d bytes; ", st.shared.charge.Load(), st.limit)
	}
	fmt.Fprintf(b, "readers: %d, at work: %d\n", len(readers), len(readers)-waiting)
}

// writeState writes the sending side, and fills in the rows.
func (tx *transmit) writeState(b *bytes.Buffer, sockets map[*Socket]*SocketStats, rows map[*Psock]*psockRow) {
	tx.snapshot(sockets, rows)
	var s Stats
	tx.report(&s)
	free, waiting := 0, 0
	tx.lock()
	for k := tx.free.head; k != nil; k = k.next {
		free++
	}
	for x := tx.waiters.head; x != nil; x = x.out.next {
		waiting++
	}
	able := tx.able
	tx.unlock()
	fmt.Fprintf(b, "  sent by sockets and not accepted: %d messages; connections for them: %d, free: %d; sockets that wait for one: %d\n",
		s.Unsent, able, free, waiting)
}

// say adds a remark to a line if it applies.
func say(b *bytes.Buffer, applies bool, format string, args ...any) {
	if applies {
		b.WriteString("; ")
		fmt.Fprintf(b, format, args...)
	}
}

func writeSockets(b *bytes.Buffer, rows []*SocketStats) {
	if len(rows) == 0 {
		return
	}
	slices.SortFunc(rows, func(x, y *SocketStats) int { return cmp.Compare(x.Index, y.Index) })
	fmt.Fprintf(b, "  %-7s %-9s %9s %10s %10s %9s %9s\n", "socket", "type", "received", "queued", "charged", "to send", "charged")
	for _, r := range rows {
		fmt.Fprintf(b, "  %-7d %-9v %9d %10d %10d %9d %9d", r.Index, r.Type, r.RxMessages, r.RecvQueue, r.RecvBytes, r.SendQueue, r.SendBytes)
		say(b, r.Psock >= 0, "sends on connection %d", r.Psock)
		say(b, r.TxWait, "waits for a connection")
		say(b, r.Senders > 0, "%d wait to send", r.Senders)
		say(b, r.WMore, "collects a batch")
		say(b, r.RxDisabled, "receive-disabled")
		b.WriteByte('\n')
	}
}

func writePsocks(b *bytes.Buffer, rows []*stateRow) {
	if len(rows) == 0 {
		return
	}
	slices.SortFunc(rows, func(x, y *stateRow) int { return cmp.Compare(x.Index, y.Index) })
	fmt.Fprintf(b, "  %-10s %-10s %-6s %-16s %10s %9s %9s %9s %12s  %s\n",
		"connection", "state", "fd", "loop", "received", "unread", "lacking", "queued", "sent", "remote")
	for _, r := range rows {
		remote := ""
		if r.Remote != nil {
			remote = r.Remote.String()
		}
		fmt.Fprintf(b, "  %-10d %-10v %-6d %-16s %10d %9d %9d %9d %12d  %s", r.Index, r.State, r.fd, r.loop,
			r.Parser.Messages, r.RecvQueue, r.Need, r.SendQueue, r.TxBytes, remote)
		say(b, r.owed > 0, "%d messages passed and not handled, of which behind others %d", r.owed, r.backlog)
		say(b, r.held > 0, "made to wait")
		say(b, r.RdyRx, "parked")
		say(b, r.bars != gateOpen, "barred: its replies are not taken")
		say(b, r.Socket >= 0, "reserved by socket %d", r.Socket)
		say(b, r.TxStop && r.State < Leaving, "sockets send nothing more")
		say(b, r.RxStop && r.State < Leaving, "receives nothing more")
		say(b, r.later, "ends after its work")
		say(b, r.Err != nil, "%v", r.Err)
		b.WriteByte('\n')
	}
}
