//go:build linux

package mux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// Messages passed to workers over a hostile network, every policy with every limit of
// a flow, ordered replies and not, one loop and two: each message is handled once, at
// most so many of a connection at a time and, if that is one, in order; each reply
// arrives once, unchanged and in the order promised, or its loss shows; no message
// waits while a reader does (KC-3); and everything comes back. Meanwhile
// sockets are opened, closed, disabled and enabled, and read in parts.
//
// Proves I5, I7, I13, I14: steer's invariants are looked at all the time.
func TestSimulatorDispatchesEachMessageOnce(t *testing.T) {
	o := ringtest.Storm()
	o.Swarm = true
	ringtest.Seeds(t, *simSeeds, o, func(t *testing.T, s *ringtest.Sim) {
		w := newDispatch(t, s)
		w.run()
		w.finish()
	})
}

// act is what is done with a message. It follows from the message.
type act uint8

const (
	actReply   act = iota // the message itself
	actTake               // likewise, by way of a taken one
	actPayload            // a copy
	actNone
	actProxy // sent to another connection
)

func (w *dispatch) act(id, n int) act {
	switch rand.New(rand.NewPCG(uint64(id), uint64(n)+1<<32)).IntN(10) {
	case 0:
		return actTake
	case 1:
		return actPayload
	case 2:
		return actNone
	case 3, 4:
		if w.proxies {
			return actProxy
		}
	}
	return actReply
}

// inline reports whether the handler deals with the message itself.
func (w *dispatch) inline(id, n int) bool {
	return w.inlines && rand.New(rand.NewPCG(uint64(id), uint64(n)+2<<32)).IntN(3) == 0
}

// dispatch is a Mux on loops driven by hand, with its clients and workers.
type dispatch struct {
	t   *testing.T
	s   *ringtest.Sim
	rng *rand.Rand

	m       *Mux
	st      *steer
	loops   []*ring.Loop
	flows   []*simFlow
	workers []*simWorker
	cap     int
	ordered bool
	proxies bool
	inlines bool
	early   bool // the Mux is closed in the middle

	locked  bool // somebody has steer's lock for the whole turn
	turning bool
	kicking bool
	chaos   bool               // things are opened and closed
	ended   bool               // the Mux is closed
	started int                // messages
	cut     int                // messages of which a part was read before their socket was closed
	parts   map[*Socket][]byte // what was read of them
	parked  []string           // see parkOrder
}

// simFlow is a connection, with the client at its far end.
type simFlow struct {
	w    *dispatch
	id   int
	p    *Psock
	peer *ringtest.Peer

	todo, sent int
	out, in    []byte
	lazy, tear bool
	resting    bool
	patient    bool // finishes only when every reply is there
	dead       bool // the connection failed, or somebody ended it
	closed     bool // the client has finished its side
	eof        bool

	arrived int    // messages at the handler
	passed  []int  // their numbers, to the workers
	next    int    // in passed, of those started in order
	started []bool // by number
	inHands int
	replies []bool // that have come, by number
	last    int    // number of the last
	foreign int    // messages of other connections that have come
	sentTo  int    // messages of other connections that were sent here
	lost    int    // reported by OnLost
}

func newDispatch(t *testing.T, s *ringtest.Sim) *dispatch {
	rng := s.Rand()
	kind := int(s.Seed())
	pick := func(n int) int { k := kind % n; kind /= n; return k }
	w := &dispatch{t: t, s: s, rng: rng, chaos: true, parts: map[*Socket][]byte{}}
	policy, loops := Policy(pick(2)), 1+pick(2)
	w.cap = [...]int{1, 3, noCap}[pick(3)]
	w.ordered = pick(2) == 1
	w.inlines, w.proxies, w.early = rng.IntN(3) == 0, rng.IntN(2) == 0, rng.IntN(8) == 0
	for range loops {
		l, err := ring.NewWith(s.Open, simRing())
		if err != nil {
			t.Fatal(err)
		}
		w.loops = append(w.loops, l)
	}
	o := Options{
		Format: strparser.Length32, MaxMessage: 32 << 10, On: w.loops, AssemblyTimeout: -1,
		Policy: policy, FlowCap: w.cap, OrderedReplies: w.ordered,
		QueueBytes: 1 + rng.IntN(1<<(8+rng.IntN(9))),
	}
	if w.cap == noCap {
		o.FlowCap = -1
	}
	if rng.IntN(2) == 0 {
		o.DelayTarget = time.Duration(1+rng.IntN(1000)) * time.Microsecond
	}
	if rng.IntN(2) == 0 || w.proxies {
		o.OnLost = func(to *Psock, _ *sgmsg.Message, _ error) { to.Value().(*simFlow).lost++ }
	}
	var err error
	if w.m, err = New(o); err != nil {
		t.Fatal(err)
	}
	w.st = w.m.steer
	w.m.Handle(w.handle)
	for i := range 2 + rng.IntN(5) {
		fd, peer := s.Pair()
		f := &simFlow{
			w: w, id: i, peer: peer, todo: 1 + rng.IntN(40), last: -1,
			lazy: rng.IntN(4) == 0, tear: rng.IntN(6) == 0, patient: rng.IntN(2) == 0,
		}
		if f.p, err = w.m.adopt(w.m.shards[i%loops], fd, 0); err != nil {
			t.Fatal(err)
		}
		f.p.SetValue(f)
		w.flows = append(w.flows, f)
	}
	for range 1 + rng.IntN(5) {
		kind := workerKind(rng.IntN(int(workerKinds)))
		if w.ordered && kind == partKind { // what it sends is no reply that could be put in order
			kind = recvKind
		}
		w.workers = append(w.workers, &simWorker{w: w, kind: kind})
	}
	return w
}

func (w *dispatch) describe() string {
	return fmt.Sprintf("%v, FlowCap %d, ordered %v, %d loops, proxies %v, inlines %v, early %v, %d workers, QueueBytes %d",
		w.m.opt.Policy, w.cap, w.ordered, len(w.loops), w.proxies, w.inlines, w.early, len(w.workers), w.st.limit)
}

func (w *dispatch) fatalf(format string, args ...any) {
	w.t.Helper()
	w.t.Log(w.describe())
	w.t.Fatalf(format, args...)
}

// after runs fn in a while, as a thread of its own would.
func (w *dispatch) after(most time.Duration, fn func()) {
	w.s.After(time.Duration(w.rng.Int64N(int64(most))+1), func() {
		if w.locked { // then it would wait
			w.after(most, fn)
			return
		}
		fn()
		w.kick()
	})
}

// run drives everything until it is over.
func (w *dispatch) run() {
	w.disturb()
	w.after(30*time.Millisecond, func() {
		w.chaos = false
		for _, k := range w.workers {
			if k.sock != nil {
				k.sock.SetRecvDisabled(false)
			}
		}
		if w.early {
			w.end()
			if err := w.m.Close(); err != nil {
				w.t.Error(err)
			}
		}
	})
	var turns []func()
	for _, l := range w.loops {
		turns = append(turns, func() { w.turn(l) })
	}
	for _, f := range w.flows {
		turns = append(turns, f.turn)
	}
	w.kick()
	if err := w.s.Run(w.over, turns...); err != nil {
		for _, f := range w.flows {
			w.t.Logf("connection %d: sent %d, todo %d, arrived %d, passed %d, next %d, in hands %d, last reply %d, foreign %d of %d, lost %d, dead %v closed %v eof %v lazy %v patient %v, holds %d, slots %d, owed %d",
				f.id, f.sent, f.todo, f.arrived, len(f.passed), f.next, f.inHands, f.last, f.foreign, f.sentTo, f.lost,
				f.dead, f.closed, f.eof, f.lazy, f.patient, f.p.holds, f.p.flow.slots, f.p.flow.owed.Load())
		}
		for i, k := range w.workers {
			w.t.Logf("worker %d: kind %d, at work %v, hands %d, asleep %v, lagging %v, ended %v", i, k.kind, k.current != nil, len(k.hands), k.asleep, k.lagging, k.ended)
		}
		w.fatalf("%v", err)
	}
}

// turn is a turn of a loop, sometimes while somebody has the lock.
func (w *dispatch) turn(l *ring.Loop) {
	w.locked = w.rng.IntN(8) == 0
	if w.locked {
		w.st.mu.Lock()
	}
	w.turning = true
	l.Turn()
	w.turning = false
	if w.locked {
		w.locked = false
		w.st.unlock()
	}
	w.kick()
}

func (w *dispatch) handle(from *Psock, msg *sgmsg.Message) Verdict {
	f := from.Value().(*simFlow)
	n := f.arrived
	f.arrived++
	f.started = append(f.started, false)
	if !bytes.Equal(msg.AppendTo(nil), simMessage(f.id, n)) {
		w.fatalf("connection %d: message %d is not what was sent", f.id, n)
	}
	if w.rng.IntN(4) == 0 { // others run while the loop does
		if w.chaos && !w.locked && w.rng.IntN(8) == 0 {
			w.mischief()
		}
		w.kick()
	}
	if !w.inline(f.id, n) {
		f.passed = append(f.passed, n)
		return Pass
	}
	f.started[n] = true
	switch w.act(f.id, n) {
	case actReply:
		from.Send(msg)
	case actTake:
		from.Send(msg.Take())
	case actPayload:
		if err := from.SendPayload(msg.AppendTo(nil)[4:]); err != nil {
			w.fatalf("payload: %v", err)
		}
	case actProxy:
		w.proxyOf(f).p.Send(msg)
	case actNone:
		return Drop
	}
	return Done
}

func (w *dispatch) proxyOf(f *simFlow) *simFlow {
	to := w.flows[(f.id+1)%len(w.flows)]
	to.sentTo++
	return to
}

// begin checks a message that a worker has got.
func (w *dispatch) begin(r *Received) (f *simFlow, n int) {
	f = r.From.Value().(*simFlow)
	return f, w.start(f, r.Msg.AppendTo(nil))
}

// start checks the bytes of a message of f that a worker has got, and returns its number.
func (w *dispatch) start(f *simFlow, b []byte) (n int) {
	id, n := int(binary.BigEndian.Uint32(b[4:])), int(binary.BigEndian.Uint32(b[8:]))
	if id != f.id || n >= f.arrived || !bytes.Equal(b, simMessage(id, n)) {
		w.fatalf("connection %d: message %d of %d reached a worker, or its bytes changed", f.id, n, id)
	}
	if f.started[n] || w.inline(id, n) {
		w.fatalf("connection %d: message %d was handled twice", f.id, n)
	}
	f.started[n] = true
	w.started++
	if f.inHands++; f.inHands > w.cap {
		w.fatalf("connection %d: %d messages are being handled", f.id, f.inHands)
	}
	if w.cap == 1 {
		if f.passed[f.next] != n {
			w.fatalf("connection %d: message %d is handled before %d", f.id, n, f.passed[f.next])
		}
		f.next++
	}
	return n
}

// answer does with a message what is to be done with it.
func (w *dispatch) answer(r *Received, f *simFlow, n int) {
	switch w.act(f.id, n) {
	case actReply:
		r.Reply(r.Msg)
	case actTake:
		r.Reply(r.Msg.Take())
	case actPayload:
		if err := r.ReplyPayload(r.Msg.AppendTo(nil)[4:]); err != nil {
			w.fatalf("payload: %v", err)
		}
	case actProxy:
		r.Send(w.proxyOf(f).p, r.Msg)
	case actNone:
		r.Release()
	}
	f.inHands--
}

func (w *dispatch) over() bool {
	if w.chaos || w.m.Psocks() > 0 {
		return false
	}
	for _, f := range w.flows {
		if !f.dead && !f.eof || f.p.flow.owed.Load() > 0 {
			return false
		}
	}
	for _, k := range w.workers {
		if k.current != nil || len(k.hands) > 0 || k.sock != nil && k.sock.part != nil {
			return false
		}
	}
	return true
}

// finish checks the sums, and that everything has come back.
func (w *dispatch) finish() {
	passed, all := 0, 0
	for _, f := range w.flows {
		all += f.arrived
		passed += len(f.passed)
		f.check()
	}
	st := w.m.Stats()
	if int(st.RxMessages) != all || passed != int(st.Received+st.Discarded)+st.Queued || st.Queued != 0 {
		w.fatalf("%d messages came, the parsers say %d; %d were passed, %d received, %d queued, %d discarded",
			all, st.RxMessages, passed, st.Received, st.Queued, st.Discarded)
	}
	if st.Discarded > 0 && !w.early || int(st.Received) != w.started+w.cut {
		w.fatalf("%d messages received of %d, %d discarded", st.Received, w.started, st.Discarded)
	}
	if !w.early {
		if st.Delay.Count != st.Received {
			w.fatalf("the delay of %d messages was recorded, %d were received", st.Delay.Count, st.Received)
		}
		if c := w.st.shared.charge.Load(); c != 0 {
			w.fatalf("the empty queue is charged %d bytes", c)
		}
		for _, s := range w.st.sockets {
			if c := s.own.charge.Load(); c != 0 {
				w.fatalf("a socket's empty queue is charged %d bytes", c)
			}
		}
	}
	for _, k := range w.workers {
		k.close()
	}
	if err := w.m.Close(); err != nil {
		w.t.Error(err)
	}
	for i, l := range w.loops {
		if err := l.Close(); err != nil {
			w.t.Error(err)
		}
		st := l.Stats()
		if st.BuffersFree != st.Buffers || st.RegionUsed != 0 || st.SpillUsed != 0 || st.Streams != 0 {
			w.fatalf("loop %d: %d of %d buffers free, region %d, private memory %d bytes in use, %d streams",
				i, st.BuffersFree, st.Buffers, st.RegionUsed, st.SpillUsed, st.Streams)
		}
	}
}

// check compares what came back with what is to come back.
func (f *simFlow) check() {
	w := f.w
	if f.p.flow.slots != 0 || f.p.flow.backlog.head != nil {
		w.fatalf("connection %d: %d slots are taken at the end, backlog %v", f.id, f.p.flow.slots, f.p.flow.backlog.head)
	}
	if f.dead || w.early {
		return
	}
	if f.arrived != f.sent || len(f.in) > 0 {
		w.fatalf("connection %d ended in order, %d messages of %d arrived, %d bytes over", f.id, f.arrived, f.sent, len(f.in))
	}
	for n := range f.sent {
		a := w.act(f.id, n)
		if want := a != actNone && a != actProxy; f.came(n) != want {
			w.fatalf("connection %d ended in order, reply %d came: %v, want %v", f.id, n, f.came(n), want)
		}
	}
	if w.m.opt.OnLost != nil && f.foreign+f.lost != f.sentTo {
		w.fatalf("connection %d: %d messages of others came and %d were lost, of %d", f.id, f.foreign, f.lost, f.sentTo)
	}
}

func (f *simFlow) came(n int) bool { return n < len(f.replies) && f.replies[n] }

// complete reports whether every reply to the client is there.
func (f *simFlow) complete() bool {
	for n := range f.sent {
		if a := f.w.act(f.id, n); a != actNone && a != actProxy && !f.came(n) {
			return false
		}
	}
	return true
}

// turn lets the client write and read.
func (f *simFlow) turn() {
	if f.dead || f.eof {
		return
	}
	rng := f.w.rng
	if len(f.out) == 0 && f.todo > 0 {
		for range 1 + rng.IntN(8) {
			if f.todo > 0 {
				f.out = append(f.out, simMessage(f.id, f.sent)...)
				f.sent++
				f.todo--
			}
		}
	}
	if f.tear && rng.IntN(100) == 0 {
		if rng.IntN(2) == 0 {
			f.peer.Reset()
		} else {
			f.peer.Close()
		}
		f.dead = true
		return
	}
	if len(f.out) > 0 {
		n, err := f.peer.Write(f.out[:1+rng.IntN(len(f.out))])
		f.out = f.out[n:]
		f.failed(err)
	} else if f.todo == 0 && !f.closed && (!f.patient || f.complete()) {
		f.closed = true
		f.failed(f.peer.CloseWrite())
	}
	if f.lazy {
		if !f.resting {
			f.resting = true
			f.w.s.After(time.Duration(rng.IntN(5_000))*time.Microsecond, func() { f.resting = false; f.read() })
		}
		return
	}
	f.read()
}

func (f *simFlow) failed(err error) {
	if err != nil && !errors.Is(err, syscall.EAGAIN) {
		f.dead = true
		f.peer.Close()
	}
}

func (f *simFlow) read() {
	if f.dead || f.eof {
		return
	}
	buf := make([]byte, 1+f.w.rng.IntN(16<<10))
	n, err := f.peer.Read(buf)
	f.in = append(f.in, buf[:n]...)
	for len(f.in) >= simHead {
		id, n := int(binary.BigEndian.Uint32(f.in[4:])), int(binary.BigEndian.Uint32(f.in[8:]))
		if id >= len(f.w.flows) || n >= f.w.flows[id].arrived {
			f.w.fatalf("connection %d: reply %d of %d to no message", f.id, n, id)
		}
		want := simMessage(id, n)
		if !bytes.Equal(f.in[:min(len(want), len(f.in))], want[:min(len(want), len(f.in))]) {
			f.w.fatalf("connection %d: reply %d of %d has other bytes", f.id, n, id)
		}
		if len(f.in) < len(want) {
			break
		}
		f.in = f.in[len(want):]
		f.got(id, n)
	}
	if err == io.EOF {
		f.eof = true
		f.peer.Close()
		return
	}
	f.failed(err)
}

func (f *simFlow) got(id, n int) {
	w := f.w
	a := w.act(id, n)
	if id != f.id || a == actProxy {
		if a != actProxy || w.flows[(id+1)%len(w.flows)] != f {
			w.fatalf("connection %d: message %d of connection %d came here", f.id, n, id)
		}
		f.foreign++
		return
	}
	for len(f.replies) <= n {
		f.replies = append(f.replies, false)
	}
	if f.replies[n] || a == actNone {
		w.fatalf("connection %d: reply %d came twice, or was never given", f.id, n)
	}
	f.replies[n] = true
	if (w.ordered || w.cap == 1 && !w.inlines) && n < f.last {
		w.fatalf("connection %d: reply %d came after %d", f.id, n, f.last)
	}
	f.last = n
}

// check compares steer with what the test knows.
func (w *dispatch) check() {
	st := w.st
	if st.asked() {
		w.fatalf("something was left in the inbox")
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if v := st.violation(); v != "" {
		w.fatalf("%s", v)
	}
	queues := []*queue{&st.shared}
	for _, s := range st.sockets {
		queues = append(queues, &s.own)
		if s.state == isBound && !st.closed {
			w.fatalf("a socket is bound between turns")
		}
	}
	left, coming := int(st.stats.Discarded)+w.started, 0
	slots := map[*Psock]int{}
	taken := map[*burst]int{}
	for _, k := range w.workers {
		if k.rd != nil && k.rd.state == called && (!st.fifo || !k.rd.socket.closed) {
			coming++
		}
		if k.rd != nil && k.rd.burst != nil {
			taken[k.rd.burst]++
			slots[k.rd.burst.psock]++
		}
		for _, r := range k.hands {
			slots[r.From]++
		}
	}
	left += w.cut
	for _, s := range st.sockets {
		if s.part != nil {
			left++
			slots[s.part.From]++
		}
	}
	for b, n := range taken {
		left += b.rest()
		if b.users != n {
			w.fatalf("a burst is said to have %d readers, and has %d", b.users, n)
		}
	}
	charges := map[*queue]int{}
	count := func(l *burstList, slot, charged bool) {
		for b := l.head; b != nil; b = b.next {
			left += b.rest()
			if slot {
				slots[b.psock]++
			}
			if charged {
				charges[st.queueOf(b)] += b.charge
			}
		}
	}
	for _, q := range queues {
		count(&q.ready, true, true)
		count(&q.resumed, true, true)
		coming -= q.coming
	}
	count(&st.hold, true, false)
	count(&st.parked, false, false)
	passed := 0
	for _, f := range w.flows {
		count(&f.p.flow.backlog, false, false)
		passed += len(f.passed)
		if f.p.flow.slots != slots[f.p] {
			w.fatalf("connection %d has %d slots taken, by %d", f.id, f.p.flow.slots, slots[f.p])
		}
	}
	if passed != left {
		w.fatalf("%d messages were passed, %d are accounted for", passed, left)
	}
	if coming != 0 {
		w.fatalf("the numbers of readers called and coming differ by %d", coming)
	}
	for _, q := range queues {
		if n := q.charge.Load(); int(n) != charges[q] && !st.closed {
			w.fatalf("a queue is charged %d bytes for %d", n, charges[q])
		}
	}
	w.parkOrder()
}

// parkOrder: who was parked first is the first to go on.
func (w *dispatch) parkOrder() {
	var now []string // connection and number of the messages parked
	for b := w.st.parked.head; b != nil; b = b.next {
		now = append(now, string(b.msg.Head(simHead, make([]byte, simHead))[4:]))
	}
	still := 0
	for _, m := range w.parked {
		if slices.Contains(now, m) {
			still++
		}
	}
	if !slices.Equal(now[:still], w.parked[len(w.parked)-still:]) {
		w.fatalf("a connection that was parked later went on first: %x, then %x", w.parked, now)
	}
	w.parked = now
}
