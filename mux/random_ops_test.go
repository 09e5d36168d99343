//go:build linux

package mux_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
)

// opsWorld is a Mux on which several goroutines do whatever can be done with sockets and
// connections, at random. A message says who sent it and which of his it is.
type opsWorld struct {
	t *testing.T
	m *mux.Mux

	mu      sync.Mutex
	sockets []*opSocket     // open
	lowers  []*opLower      // not known to be gone
	made    uint32          // sockets and peers, to number them
	arrived map[uint64]bool // at peers
	taken   map[uint64]bool // by receivers

	left      atomic.Int64  // operations
	queued    atomic.Uint64 // messages that sockets took
	received  atomic.Uint64 // by receivers, whole or cut
	peers     sync.WaitGroup
	totals    [opKinds]atomic.Int64
	duplicate atomic.Bool
}

type opSocket struct {
	s  *mux.Socket
	id uint32

	sending sync.Mutex // parts of messages are not to be mixed
	seq     uint32

	receiving sync.Mutex
	part      []byte // read of a message, with Seqpacket
}

// opLower is a connection and its peer.
type opLower struct {
	p  *mux.Psock
	c  net.Conn
	id uint32

	writing sync.Mutex
	seq     uint32
	dead    atomic.Bool
}

type opKind int

const (
	opSend opKind = iota
	opSendParts
	opSendBatch
	opRecv
	opRecvPart
	opPeek
	opPeerSends
	opAttach
	opOpen
	opClone
	opClose
	opDisable
	opEnable
	opUnattach
	opDetach
	opKill
	opEnd
	opPsockClose
	opKinds
)

var opNames = [...]string{"send", "send parts", "send batch", "recv", "recv part", "peek", "peer sends", "attach", "open", "clone",
	"close", "disable", "enable", "unattach", "detach", "kill", "end", "psock close"}

// opOdds are how often what happens, in a thousand.
var opOdds = [opKinds]int{220, 40, 40, 300, 100, 30, 220, 12, 5, 3, 5, 6, 8, 3, 2, 3, 2, 1}

const opHead = 4 + 8

// opMessage makes a message; its content follows from its number.
func opMessage(id, seq uint32, size int) []byte {
	b := make([]byte, opHead+size)
	binary.BigEndian.PutUint32(b, uint32(8+size))
	binary.BigEndian.PutUint32(b[4:], id)
	binary.BigEndian.PutUint32(b[8:], seq)
	for i := opHead; i < len(b); i++ {
		b[i] = byte(i*3 + int(id)*5 + int(seq)*7)
	}
	return b
}

// check holds a message, or the beginning of one, against what was sent, and returns its number.
func (w *opsWorld) check(b []byte, whole bool) uint64 {
	if len(b) < opHead {
		return 0
	}
	id, seq := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	if n := 4 + int(binary.BigEndian.Uint32(b)); whole && n != len(b) {
		w.t.Errorf("message %d of %d has %d bytes, want %d", seq, id, len(b), n)
	}
	for i := opHead; i < len(b); i++ {
		if b[i] != byte(i*3+int(id)*5+int(seq)*7) {
			w.t.Errorf("message %d of %d has a wrong byte %d", seq, id, i)
			break
		}
	}
	return uint64(id)<<32 | uint64(seq)
}

// once notes a message that came whole.
func (w *opsWorld) once(seen map[uint64]bool, what string, number uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if seen[number] && !w.duplicate.Swap(true) {
		w.t.Errorf("%s got message %d of %d twice", what, uint32(number), number>>32)
	}
	seen[number] = true
}

func (w *opsWorld) number() uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made++
	return w.made
}

func (w *opsWorld) open(clone *opSocket, rng *rand.Rand) {
	var s *mux.Socket
	var err error
	if clone != nil {
		s, err = clone.s.Clone()
		if errors.Is(err, mux.ErrClosed) {
			return
		}
	} else {
		s, err = w.m.OpenSocket(mux.SocketOptions{Type: mux.SocketType(rng.IntN(2)), SendBytes: 1 << (10 + rng.IntN(8))})
	}
	if err != nil {
		w.t.Errorf("open: %v", err)
		return
	}
	x := &opSocket{s: s, id: w.number()}
	w.mu.Lock()
	w.sockets = append(w.sockets, x)
	w.mu.Unlock()
}

// connect makes a connection, the peer of which reads.
func (w *opsWorld) connect() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Error(err)
		return
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		w.t.Error(err)
		return
	}
	srv, err := ln.Accept()
	if err != nil {
		w.t.Error(err)
		c.Close()
		return
	}
	l := &opLower{c: c, id: w.number()}
	if l.p, err = w.m.Attach(srv); err != nil {
		w.t.Errorf("attach: %v", err)
		srv.Close()
		c.Close()
		return
	}
	w.mu.Lock()
	w.lowers = append(w.lowers, l)
	w.mu.Unlock()
	w.peers.Go(func() {
		defer l.gone()
		var head [4]byte
		for {
			if _, err := io.ReadFull(c, head[:]); err != nil {
				return
			}
			n := binary.BigEndian.Uint32(head[:])
			if n < 8 || n > 1<<20 {
				w.t.Errorf("a peer was sent what is no message: length %d", n)
				return
			}
			b := make([]byte, 4+n)
			copy(b, head[:])
			if _, err := io.ReadFull(c, b[4:]); err != nil {
				return
			}
			w.once(w.arrived, "peers", w.check(b, true))
		}
	})
}

func (l *opLower) gone() {
	l.dead.Store(true)
	l.c.Close()
}

// pick returns a socket and a connection, nil when there is none.
func (w *opsWorld) pick(rng *rand.Rand) (s *opSocket, l *opLower) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.sockets); n > 0 {
		s = w.sockets[rng.IntN(n)]
	}
	for len(w.lowers) > 0 {
		i := rng.IntN(len(w.lowers))
		if l = w.lowers[i]; l.p.State() != mux.Ended {
			return s, l
		}
		w.lowers[i] = w.lowers[len(w.lowers)-1]
		w.lowers = w.lowers[:len(w.lowers)-1]
		l = nil
	}
	return s, nil
}

// run does operations until none are left.
func (w *opsWorld) run(seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	sum := 0
	for _, n := range opOdds {
		sum += n
	}
	for w.left.Add(-1) >= 0 && !w.t.Failed() {
		k, n := opKind(0), rng.IntN(sum)
		for n >= opOdds[k] {
			n -= opOdds[k]
			k++
		}
		s, l := w.pick(rng)
		w.mu.Lock()
		sockets, lowers := len(w.sockets), len(w.lowers)
		w.mu.Unlock()
		switch {
		case s == nil || k == opOpen:
			if sockets < 10 {
				w.open(nil, rng)
			}
		case l == nil || k == opAttach:
			if lowers < 10 {
				w.connect()
			}
		case k == opClone:
			if sockets < 10 {
				w.open(s, rng)
			}
		default:
			w.do(k, s, l, rng)
		}
		w.totals[k].Add(1)
	}
}

func (w *opsWorld) do(k opKind, s *opSocket, l *opLower, rng *rand.Rand) {
	switch k {
	case opSend, opSendParts, opSendBatch:
		w.send(k, s, rng)
	case opRecv:
		r, ok := s.s.TryRecv()
		if !ok {
			return
		}
		w.once(w.taken, "receivers", w.check(r.Msg.AppendTo(nil), true))
		w.received.Add(1)
		r.Done()
	case opRecvPart, opPeek:
		w.recvPart(s, k == opPeek, rng)
	case opPeerSends:
		l.send(rng)
	case opClose:
		w.mu.Lock()
		for i, x := range w.sockets {
			if x == s {
				w.sockets = append(w.sockets[:i], w.sockets[i+1:]...)
			}
		}
		w.mu.Unlock()
		if rng.IntN(2) == 0 {
			s.s.Close()
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if err := s.s.CloseWithDrain(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			w.t.Errorf("close: %v", err)
		}
	case opDisable, opEnable:
		s.s.SetRecvDisabled(k == opDisable)
	case opUnattach, opDetach:
		give := l.p.UnattachTo
		if k == opDetach {
			give = l.p.DetachTo
		}
		give(func(c net.Conn, err error) {
			switch {
			case err == nil:
				c.Close()
			case !errors.Is(err, mux.ErrClosed) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET):
				w.t.Errorf("detach: %v", err)
			}
		})
	case opKill:
		l.c.(*net.TCPConn).SetLinger(0)
		l.gone()
	case opEnd:
		l.c.(*net.TCPConn).CloseWrite()
	case opPsockClose:
		l.p.Close()
	}
}

func (w *opsWorld) send(k opKind, s *opSocket, rng *rand.Rand) {
	if !s.sending.TryLock() {
		return
	}
	defer s.sending.Unlock()
	ctx, cancel := context.Background(), func() {}
	f := mux.DontWait
	if rng.IntN(4) == 0 {
		f = 0
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(500))*time.Microsecond)
	}
	defer cancel()
	msg := opMessage(s.id, s.seq, rng.IntN(1<<rng.IntN(15)))
	if k == opSendParts {
		part := msg[:1+rng.IntN(len(msg))]
		if n, err := s.s.SendMsg(ctx, part, f|mux.More); err != nil {
			w.sendError(err)
			return
		} else if n != len(part) {
			w.t.Errorf("send took %d of %d bytes", n, len(part))
		}
		msg = msg[len(part):]
	}
	if k == opSendBatch {
		f |= mux.Batch
	}
	n, err := s.s.SendMsg(ctx, msg, f|mux.EOR)
	if err != nil {
		if k == opSendParts && !errors.Is(err, mux.ErrClosed) {
			w.t.Errorf("a message was refused in its middle: %v", err)
		}
		w.sendError(err)
		return
	}
	if n != len(msg) {
		w.t.Errorf("send took %d of %d bytes", n, len(msg))
	}
	s.seq++
	w.queued.Add(1)
}

func (w *opsWorld) sendError(err error) {
	if !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, mux.ErrClosed) && !errors.Is(err, context.DeadlineExceeded) {
		w.t.Errorf("send: %v", err)
	}
}

// recvPart receives into a buffer that may be too small.
func (w *opsWorld) recvPart(s *opSocket, peek bool, rng *rand.Rand) {
	if !s.receiving.TryLock() {
		return
	}
	defer s.receiving.Unlock()
	b := make([]byte, 1+rng.IntN(4000))
	f := mux.DontWait
	if peek {
		f |= mux.Peek
	}
	n, got, err := s.s.RecvMsg(context.Background(), b, f)
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, mux.ErrClosed):
		return
	case err != nil:
		w.t.Errorf("receive: %v", err)
		return
	case peek:
		w.check(append(s.part[:len(s.part):len(s.part)], b[:n]...), false)
		return
	}
	s.part = append(s.part, b[:n]...)
	if got&mux.EOR == 0 {
		return
	}
	number := w.check(s.part, got&mux.Trunc == 0)
	if len(s.part) >= opHead {
		w.once(w.taken, "receivers", number)
	}
	s.part = nil
	w.received.Add(1)
}

// send has the peer send some messages, or kills it if there is no room.
func (l *opLower) send(rng *rand.Rand) {
	if l.dead.Load() || !l.writing.TryLock() {
		return
	}
	defer l.writing.Unlock()
	var b []byte
	for range 1 + rng.IntN(5) {
		b = append(b, opMessage(l.id, l.seq, rng.IntN(1<<rng.IntN(13)))...)
		l.seq++
	}
	l.c.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := l.c.Write(b); err != nil {
		l.gone()
	}
}

// What is received and sent is conserved, whatever is done: of the messages that parsers
// made each is received once, or dropped and counted; of those that sockets took each was taken whole
// by one connection, or discarded by the end of its socket and counted. None comes twice, and no
// memory is lost. Proves I2, I3, I5, I6, I14, I17.
func TestRandomOperationsConserveMessages(t *testing.T) {
	for _, policy := range []mux.Policy{mux.Idle, mux.FIFO} {
		t.Run(policy.String(), func(t *testing.T) {
			each(t, func(t *testing.T, b ring.Backend) { randomOperations(t, policy, b) })
		})
	}
}

func randomOperations(t *testing.T, policy mux.Policy, b ring.Backend) {
	const workers = 4
	w := &opsWorld{t: t, arrived: map[uint64]bool{}, taken: map[uint64]bool{}}
	w.m = newMux(t, mux.Options{Loops: 2, Policy: policy, FlowCap: -1, QueueBytes: 64 << 10, Ring: ring.Options{Backend: b},
		OnLost: func(_ *mux.Psock, msg *sgmsg.Message, err error) {
			t.Errorf("a message of a socket is said to be lost: %d bytes, %v", msg.Len(), err)
		},
	}, nil)
	w.left.Store(randomOps / 2)
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() { w.run(uint64(i)) })
	}
	all.Wait()
	rng := rand.New(rand.NewPCG(9, 9))
	w.open(nil, rng)
	w.connect()
	for _, s := range w.sockets {
		s.s.SetRecvDisabled(false)
		if n, err := s.s.SendMsg(t.Context(), nil, mux.EOR); n != 0 || err != nil { // flushes a batch
			t.Errorf("flush: %v", err)
		}
	}
	until(t, "all that was queued is sent", func() bool { return w.m.Stats().Unsent == 0 })
	for _, l := range w.lowers {
		l.c.(*net.TCPConn).CloseWrite()
	}
	until(t, "all that was received is taken", func() bool {
		st := w.m.Stats() // before, or more may have come than we see
		for _, s := range w.sockets {
			for {
				w.recvPart(s, false, rng)
				r, ok := s.s.TryRecv()
				if !ok {
					break
				}
				w.once(w.taken, "receivers", w.check(r.Msg.AppendTo(nil), true))
				w.received.Add(1)
				r.Done()
			}
		}
		return st.Psocks == 0 && w.received.Load()+st.RxReadyDrops+st.RxDropped == st.RxMessages
	})
	w.peers.Wait()
	st := w.m.Stats()
	if n := st.TxMessages + st.TxDiscarded; n != w.queued.Load() {
		t.Errorf("%d messages sent and %d discarded, %d were queued", st.TxMessages, st.TxDiscarded, w.queued.Load())
	}
	if n := uint64(len(w.arrived)); n > st.TxMessages {
		t.Errorf("%d messages arrived, %d were sent", n, st.TxMessages)
	}
	t.Logf("%d received, %d sent, %d of them arrived, %d discarded, %d begun again, %d connections of which %d aborted, %d drops", st.RxMessages, st.TxMessages,
		len(w.arrived), st.TxDiscarded, st.TxRetries, st.Opened, st.TxAborts, st.RxReadyDrops+st.RxDropped)
	if randomOps >= 20_000 {
		for k := range w.totals {
			if w.totals[k].Load() == 0 {
				t.Errorf("%s: never", opNames[k])
			}
		}
	}
	memoryIsBack(t, w.m)
}
