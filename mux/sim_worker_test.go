//go:build linux

package mux

import (
	"context"
	"encoding/binary"
	"slices"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/sgmsg"
)

// simWorker is a goroutine that receives messages, without the goroutine: its steps
// are taken by dispatch.kick, and what it waits for is noticed by looking.
type simWorker struct {
	w    *dispatch
	kind workerKind
	sock *Socket
	rd   *Reader

	asleep  bool
	polling bool // waits for a token
	lagging bool // woken, and not yet running
	ended   bool // there are no sockets any more

	// A message of the Reader.
	current *Received
	flow    *simFlow
	number  int

	hands []*Received // of Recv
}

type workerKind uint8

const (
	readerKind workerKind = iota // Reader
	recvKind                     // Recv, one message after the other
	manyKind                     // Recv, and several messages in its hands
	partKind                     // RecvMsg, in parts of any size
	pollKind                     // TryRecv, after a token
	workerKinds
)

// kick lets the workers run until they wait, and checks what they leave.
func (w *dispatch) kick() {
	if w.locked || w.kicking {
		return
	}
	w.kicking = true
	rounds := 0
	for again := true; again; rounds++ {
		if rounds > 10_000 {
			w.fatalf("workers are woken and find nothing, for ever")
		}
		again = false
		for _, k := range w.workers {
			again = k.step() || again
		}
	}
	w.kicking = false
	if !w.turning {
		w.check()
		if rounds > 1 { // a loop may have got a task, of which the simulation knows nothing
			w.s.After(time.Microsecond, func() {})
		}
	}
}

// step is what the worker does next; false when it can do nothing.
func (k *simWorker) step() bool {
	w := k.w
	if k.ended || k.lagging {
		return false
	}
	if k.sock == nil {
		return k.open()
	}
	if k.asleep {
		w.st.mu.Lock()
		state := k.rd.state
		w.st.mu.Unlock()
		if state == idle || state == dormant {
			return false
		}
		k.asleep = false
		k.rd.parker.Wait() // does not, or the wake was lost
		if w.rng.IntN(4) == 0 {
			k.lagging = true
			w.after(200*time.Microsecond, func() { k.lagging = false })
			return false
		}
	}
	switch k.kind {
	case readerKind:
		return k.next()
	case partKind:
		return k.part()
	case pollKind:
		return k.poll()
	}
	return k.recv()
}

func (k *simWorker) open() bool {
	w := k.w
	k.sock = nil
	for _, o := range w.workers { // one socket may have several
		if o.sock != nil && !o.sock.closed && w.rng.IntN(4) == 0 {
			k.sock = o.sock
			break
		}
	}
	if k.sock == nil {
		var err error
		if k.sock, err = w.m.OpenSocket(w.options()); err != nil {
			if !w.ended || err == nil {
				w.fatalf("socket: %v", err)
			}
			k.ended = true
			return false
		}
	}
	k.rd = k.sock.Reader()
	return true
}

// options are those of a new socket.
func (w *dispatch) options() (o SocketOptions) {
	o.Type = SocketType(w.rng.IntN(2))
	o.RecvDisabled = w.chaos && w.rng.IntN(8) == 0
	if w.st.fifo && w.rng.IntN(2) == 0 {
		o.RecvBytes = 1 + w.rng.IntN(1<<(8+w.rng.IntN(9)))
		o.LowWater = w.rng.IntN(o.RecvBytes + 1)
	}
	return o
}

// closed deals with the end of what the worker receives from.
func (k *simWorker) closed() bool {
	if k.kind == readerKind {
		if err := k.rd.Close(); err != nil {
			k.w.fatalf("closing a reader: %v", err)
		}
	}
	k.rd, k.polling = nil, false
	if k.sock.closed {
		k.sock = nil
	} else {
		k.rd = k.sock.Reader()
		if k.w.ended {
			k.ended = true
		}
	}
	return true
}

// wait is what Next and Recv do when there is nothing.
func (k *simWorker) wait() bool {
	k.asleep = k.rd.enlist()
	return true
}

// work is how long a message takes.
func (k *simWorker) work() time.Duration {
	switch rng := k.w.rng; rng.IntN(10) {
	case 0, 1, 2:
		return 0
	case 3:
		return 20 * time.Millisecond // stuck
	case 4:
		return time.Millisecond
	default:
		return 100 * time.Microsecond
	}
}

// next goes on with a Reader.
func (k *simWorker) next() bool {
	w := k.w
	if k.current != nil {
		return false
	}
	r, err := k.rd.Next(context.Background())
	switch {
	case err == nil:
	case err == ErrClosed:
		return k.closed()
	default: // EDEADLK: there is nothing
		return k.wait()
	}
	k.flow, k.number = w.begin(r)
	if d := k.work(); d > 0 {
		k.current = r
		w.after(d, func() {
			k.current = nil
			w.answer(r, k.flow, k.number)
		})
		return false
	}
	w.answer(r, k.flow, k.number)
	return true
}

// recv goes on with Recv, which on a loop's thread does not wait.
func (k *simWorker) recv() bool {
	w := k.w
	if len(k.hands) > 0 && (k.kind == recvKind || len(k.hands) >= 3) {
		return false
	}
	w.st.lock()
	r, err := k.sock.receive(k.rd)
	w.st.unlock()
	switch {
	case err == nil:
	case err == errEmpty:
		return k.wait()
	default:
		if len(k.hands) > 0 {
			return false // they are done first
		}
		return k.closed()
	}
	k.handle(r)
	return true
}

// handle does what is to be done with a message of Recv, now or in a while.
func (k *simWorker) handle(r *Received) {
	w := k.w
	f, n := w.begin(r)
	k.hands = append(k.hands, r)
	done := func() {
		w.answer(r, f, n)
		k.hands = slices.DeleteFunc(k.hands, func(x *Received) bool { return x == r })
		r.Done()
	}
	if d := k.work(); d > 0 {
		w.after(d, done)
	} else {
		done()
	}
}

// poll goes on with TryRecv.
func (k *simWorker) poll() bool {
	if k.polling {
		select {
		case <-k.sock.Readable():
			k.polling = false
		default:
			return false
		}
	}
	r, ok := k.sock.TryRecv()
	switch {
	case ok:
		k.handle(r)
	case k.sock.closed || k.w.st.closed:
		if len(k.hands) > 0 {
			return false // they are done first
		}
		return k.closed()
	default:
		k.polling = true
	}
	return true
}

// part goes on with RecvMsg.
func (k *simWorker) part() bool {
	w, s := k.w, k.sock
	w.st.lock()
	if k.rd.state == called { // as Recv does when it wakes
		k.rd.state = busy
		s.queue().coming--
	}
	w.st.unlock()
	p := make([]byte, 32<<10)
	if s.kind == Seqpacket {
		p = p[:w.rng.IntN(1+w.rng.IntN(1<<w.rng.IntN(16)))]
	}
	flags := DontWait
	if w.rng.IntN(8) == 0 {
		flags |= Peek
	}
	n, got, err := s.RecvMsg(context.Background(), p, flags)
	switch {
	case err == syscall.EAGAIN:
		return k.wait()
	case err != nil:
		return k.closed()
	case flags&Peek != 0:
		return k.pause()
	}
	w.parts[s] = append(w.parts[s], p[:n]...)
	if got&EOR == 0 {
		return k.pause()
	}
	msg := w.parts[s]
	delete(w.parts, s)
	f := w.flows[binary.BigEndian.Uint32(msg[4:])]
	num := w.start(f, msg)
	f.inHands--
	if a := w.act(f.id, num); a != actNone { // RecvMsg does not say whom to answer
		to := f
		if a == actProxy {
			to = w.proxyOf(f)
		}
		var m sgmsg.Message
		if err := w.m.frame(to.p.shard.loop, &m, msg[4:]); err != nil {
			w.fatalf("frame: %v", err)
		}
		to.p.pushFrom(&m, f.p) // Send would overtake what others push
	}
	return true
}

// pause lets something happen now and then in the middle of a message.
func (k *simWorker) pause() bool {
	if k.w.rng.IntN(8) == 0 {
		k.lagging = true
		k.w.after(time.Millisecond, func() { k.lagging = false })
	}
	return !k.lagging
}

// shut closes a socket. A message that is lost with it takes its connection along.
func (w *dispatch) shut(s *Socket) {
	w.loses(s)
	_ = s.Close() // reports nothing
	delete(w.parts, s)
}

// loses notes that s, or the Mux, is about to be closed.
func (w *dispatch) loses(s *Socket) {
	if s.part != nil && s.begun && !s.closed {
		f := s.part.From.Value().(*simFlow)
		f.dead = true
		f.peer.Close()
		f.p.Close()
		f.next++
		w.cut++
	}
}

// end notes that the Mux is about to be closed.
func (w *dispatch) end() {
	if !w.ended {
		for _, s := range w.st.sockets {
			w.loses(s)
		}
	}
	w.ended = true
}

// close ends the worker for good.
func (k *simWorker) close() {
	if k.rd != nil && k.kind == readerKind {
		if err := k.rd.Close(); err != nil {
			k.w.fatalf("closing a reader: %v", err)
		}
	}
	if k.sock != nil {
		k.w.shut(k.sock)
	}
	k.ended = true
}

// disturb opens and closes things now and then, while there is chaos.
func (w *dispatch) disturb() {
	w.after(2*time.Millisecond, func() {
		if w.chaos {
			w.mischief()
			w.disturb()
		}
	})
}

// mischief opens or closes something.
func (w *dispatch) mischief() {
	k := w.workers[w.rng.IntN(len(w.workers))]
	switch w.rng.IntN(7) {
	case 0:
		if k.sock != nil {
			w.shut(k.sock)
		}
	case 1:
		if k.rd != nil && k.kind == readerKind { // Recv's are its own
			k.rd.stop()
		}
	case 2: // a connection
		if f := w.flows[w.rng.IntN(len(w.flows))]; w.rng.IntN(4) == 0 {
			f.dead = true
			f.peer.Close()
			f.p.Close()
		}
	case 3: // a socket from which nobody reads
		if s, err := w.m.OpenSocket(w.options()); err == nil {
			w.after(2*time.Millisecond, func() { _ = s.Close() })
		} else if !w.ended {
			w.fatalf("socket: %v", err)
		}
	case 4: // the reader leaves in the middle of a batch
		if k.kind == readerKind && k.rd != nil && k.current == nil && !k.asleep && !w.kicking {
			if err := k.rd.Close(); err != nil {
				w.fatalf("closing a reader: %v", err)
			}
			k.rd = k.sock.Reader()
		}
	case 5: // the Mux is being closed by another goroutine, which has come so far
		if w.early && w.turning && w.rng.IntN(4) == 0 {
			w.end()
			w.st.close()
		}
	case 6:
		if k.sock != nil {
			k.sock.SetRecvDisabled(!k.sock.RecvDisabled())
		}
	}
}
