package mux

import (
	"fmt"
	"log/slog"
	"math/bits"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/affinity"
	"github.com/kcm-go/kcm/internal/budget"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// Options configure a Mux. Only Format is required.
type Options struct {
	// Format frames the messages of every connection. Required.
	Format strparser.Format
	// MaxMessage is the largest message accepted, header included; 1 MiB when
	// zero. A longer one ends its connection with EMSGSIZE as soon as its header
	// is readable.
	MaxMessage int
	// AssemblyTimeout ends a connection (ETIMEDOUT) whose peer has not completed a
	// message so long after its first byte; 30 s when zero, none when negative. As with all
	// time-outs here, time in which the loop stood still does not count.
	// Without it a peer that stops in the middle of a large message keeps its
	// memory reserved for ever. When the connection was made to wait meanwhile (Pressure,
	// in the package comment) the time begins anew after that.
	AssemblyTimeout time.Duration

	// Name tells the Mux from others: in logs, dumps of its state, and profiles, where the
	// goroutines of its workers and its own loops have the label kcm_mux. Its own loops are called after it
	// (Name/0 and so on) unless Ring.Name names them. The program's name when empty.
	Name string
	// Logger, if not nil, is told of changes of state: of each connection that opens (level
	// Debug), ends (Debug; with a cause Info), could not be made (Info) or is refused (Warn),
	// and of what Ring.Logger tells, which is this one when it is nil. Each of these comes up to a
	// hundred times at once on a loop and then ten times a second, with the number of those
	// left out. It is called on the loops' threads: a handler that blocks keeps connections
	// waiting.
	Logger *slog.Logger

	// Loops is how many loops to run; when zero as many as there are physical
	// cores this process may use, and at most GOMAXPROCS-1 (1 if GOMAXPROCS
	// is 1).
	Loops int
	// Pin binds each loop's thread to a core of its own. Off by default; the
	// environment variable KCM_AFFINITY=off overrides it.
	Pin bool
	// Ring is the model of each loop's options: back end, memory, limits,
	// spinning. RegionBytes, when zero, is derived from MaxMessage; SendTimeout is
	// 30 s when zero and none when negative. Where the control group limits memory
	// (memory.max) it is all loops together whose receive memory is at most a quarter of
	// that by default, with room for one MaxMessage in each; New refuses sizes whose sum
	// over the loops is more than the limit (ENOMEM).
	Ring ring.Options
	// On makes the Mux use these running loops, which stay their owner's, in
	// place of Loops, Pin and Ring. Muxes that share loops do not make each other's
	// connections wait.
	On []*ring.Loop

	// OnOpen is called for each new connection before its first message,
	// OnClose once after its last, with nil for an orderly end and a *PsockError
	// otherwise. Both run on the connection's loop and must not block.
	OnOpen  func(*Psock)
	OnClose func(*Psock, error)
	// Handshake, if not nil, gets the messages of each connection, in place of Handler and
	// sockets, from the first until Psock.Establish: for greetings and logins. What it
	// sends leaves at once, with OrderedReplies too. Its verdicts are a Handler's; there are
	// no workers for it, so Pass means Drop. OnOpen may send a greeting of ours.
	Handshake Handler
	// HandshakeTimeout is how long a connection may take, from its opening to Establish,
	// before it is ended at once (ETIMEDOUT); 10 s when zero, for ever when negative.
	HandshakeTimeout time.Duration
	// IdleTimeout, if not zero, drains a connection (OnClose: ETIMEDOUT) that for so long has
	// completed no message and taken none of our bytes, while none of its messages was with
	// workers, nothing was queued for it, and it was not made to wait. It is found within
	// a quarter of the time more. What a handler has taken with Take does not count, nor do
	// calls that wait for a reply, nor pieces of a message. Connections of a Pool are never
	// idle.
	IdleTimeout time.Duration
	// MaxPsocks and MaxPsocksPerPeer bound the connections that come from Serve, all
	// together and those of one IP address; there is no bound when zero. One beyond them is
	// closed as soon as it is accepted, and counted (Stats.Refused); those of Dial and Attach
	// neither count nor are refused. Unix peers have no bound of their own. MaxPsocksPerPeer
	// costs two system calls for each connection.
	MaxPsocks, MaxPsocksPerPeer int
	// OnDecline, if not nil, gets the connections of which Format declined a message
	// (strparser.ErrDecline) that nothing of had been taken: another protocol on the same
	// port. It runs in a goroutine of its own, once the messages before have been answered;
	// the connection is its own now, and begins with the declined message. Without it, and
	// when part of the message has been taken, the connection ends, with ESTRPIPE or
	// ENODATA.
	OnDecline func(net.Conn)
	// OnLost gets each message that Psock.Send, and replies, took and that was not, or not wholly,
	// accepted by the kernel before the connection ended (it costs 8 bytes for each
	// message in an out queue): msg holds the bytes
	// that were not accepted, and is lent for the call. It runs on the
	// connection's loop, for messages refused by a closed connection on the
	// sender's goroutine. Messages accepted by the kernel may be lost as well if
	// the connection dies; nobody can tell. Messages of sockets are none of these: their
	// sockets keep them.
	OnLost func(to *Psock, msg *sgmsg.Message, err error)

	// Policy says which socket gets a message that is passed to the workers.
	Policy Policy
	// FlowCap is how many messages of one connection may be in the hands of readers
	// at a time: 1 when zero, so that each connection's messages are handled one by
	// one, in order; any number when negative.
	FlowCap int
	// OrderedReplies makes replies leave in the order of the messages they answer,
	// although these are handled in parallel: for pipelined protocols (RESP,
	// memcached, PostgreSQL). FlowCap is unlimited then when zero. What Received.Reply
	// and ReplyPayload sent, and handlers to their own connection, counts as a
	// reply; a message without one holds nobody up once it is done. It is the replies
	// that are in order, not what handlers do besides.
	OrderedReplies bool
	// QueueBytes bounds what waits for readers: the queue that all sockets share, with
	// FIFO the one of each socket that SocketOptions.RecvBytes does not bound. A message
	// counts its length and 256 bytes; one may cross the limit, with Idle and several
	// loops what each delivers in one turn. Beyond it connections are paused, each with one message parked. What waits because others of
	// its connection are being handled (FlowCap) is apart: one connection may have an
	// eighth of QueueBytes, all together QueueBytes. 1 MiB when zero.
	QueueBytes int
	// PinWorkers binds the threads of Workers to CPUs of their own. Off by default;
	// KCM_AFFINITY=off overrides it.
	PinWorkers bool

	// DelayTarget, if not zero, is how long messages may wait for a reader before the
	// queue counts as too long. When every batch taken for DelayInterval (20
	// DelayTargets when zero) had waited longer, messages older than DelayTarget
	// are overdue, until one is found that is not: OnReject gets them in place of
	// the Work function, and can say so to the peer for less than the work would
	// cost. Readers of their own ask Received.Overdue.
	DelayTarget, DelayInterval time.Duration
	OnReject                   Work
	// SlowHandler is the time from which the handling of a message by a worker or another
	// reader is counted as slow; 1 ms when zero, never when negative. Where messages are
	// quick time is read once for a batch, and a batch that took so long as a whole counts
	// once.
	SlowHandler time.Duration
	// Timestamps records in Received.Times also when a message was handed over.
	Timestamps bool

	// CrashOnPanic lets a panic of a handler take the process down. By default it
	// ends the connection whose message caused it, with a *PanicError.
	CrashOnPanic bool
}

// regionFor returns the large-region size that has room for one message of n bytes
// and half as much again for others. slack is how much of a message is elsewhere
// when its body is reserved, or follows it.
func regionFor(n int) int {
	run := runFor(n)
	return run + max(run/2, 8<<20)
}

// runFor returns the size of the part of a region that one message of n bytes takes.
func runFor(n int) int {
	run := 64 << 10
	if n-slack > run {
		run = 1 << bits.Len(uint(n-slack-1))
	}
	return run
}

const slack = 4 << 10

func (o *Options) fill() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("mux: "+format+": %w", append(args, syscall.EINVAL)...)
	}
	switch {
	case o.Format == nil:
		return bad("option Format is required")
	case o.MaxMessage < 0:
		return bad("option MaxMessage is %d, want a positive size", o.MaxMessage)
	case o.Loops < 0:
		return bad("option Loops is %d, want a positive number", o.Loops)
	case len(o.On) > 0 && o.Loops > 0:
		return bad("options On and Loops exclude each other")
	}
	if o.Name == "" {
		o.Name = processName()
	}
	if o.Ring.Logger == nil {
		o.Ring.Logger = o.Logger
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = strparser.DefaultMaxMessage
	}
	switch {
	case o.AssemblyTimeout == 0:
		o.AssemblyTimeout = 30 * time.Second
	case o.AssemblyTimeout < 0:
		o.AssemblyTimeout = 0
	}
	switch {
	case o.Ring.SendTimeout == 0:
		o.Ring.SendTimeout = 30 * time.Second
	case o.Ring.SendTimeout < 0:
		o.Ring.SendTimeout = 0
	}
	switch {
	case o.Policy > FIFO:
		return bad("option Policy is %d, want Idle or FIFO", o.Policy)
	case o.QueueBytes < 0:
		return bad("option QueueBytes is %d, want a positive size", o.QueueBytes)
	case o.DelayTarget < 0 || o.DelayInterval < 0:
		return bad("options DelayTarget and DelayInterval are %v and %v, want times", o.DelayTarget, o.DelayInterval)
	case o.OnReject != nil && o.DelayTarget == 0:
		return bad("option OnReject needs DelayTarget")
	}
	switch {
	case o.FlowCap < 0 || o.FlowCap == 0 && o.OrderedReplies:
		o.FlowCap = noCap
	case o.FlowCap == 0:
		o.FlowCap = 1
	}
	if err := o.fillHandshake(); err != nil {
		return err
	}
	if err := o.checkLimits(); err != nil {
		return err
	}
	if err := o.checkIdle(); err != nil {
		return err
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = 1 << 20
	}
	if o.DelayInterval == 0 {
		o.DelayInterval = 20 * o.DelayTarget
	}
	if o.SlowHandler == 0 {
		o.SlowHandler = time.Millisecond
	}
	return nil
}

// fitMemory gives the sizes of n loops, such that they fit into limit bytes, 0 for any, and have
// room for MaxMessage.
func (o *Options) fitMemory(n int, limit int64) error {
	r := &o.Ring
	size := regionFor(o.MaxMessage)
	s, note, err := budget.Plan(budget.Sizes{
		Buffers: r.Buffers, BufferSize: r.BufferSize, RegionBytes: r.RegionBytes, SpillBytes: r.SpillBytes,
	}, budget.Region{Default: size, Least: runFor(o.MaxMessage)}, n, limit)
	if err != nil {
		return fmt.Errorf("mux: Ring, with room for MaxMessage %d: %w", o.MaxMessage, err)
	}
	if note == "" { // ring says of itself what it does not want
		if r.RegionBytes == 0 {
			r.RegionBytes = size
		}
		return nil
	}
	o.tellMemory(note)
	r.Buffers, r.RegionBytes, r.SpillBytes = s.Buffers, s.RegionBytes, s.SpillBytes
	if r.RegionBytes == 0 {
		r.RegionBytes = -1
	}
	return nil
}

// fits refuses a loop that could not receive one message of the maximum size.
//
//	MaxMessage <= largest run of the large region plus slack, or
//	MaxMessage <= half the receive buffers, when there is no such region
func (o *Options) fits(l *ring.Loop) error {
	ro := l.Options()
	if ro.SendHard < ro.SendSoft+o.MaxMessage {
		return fmt.Errorf("mux: MaxMessage %d could be received and not sent: Ring.SendHard is %d, want at least SendSoft + MaxMessage = %d: %w",
			o.MaxMessage, ro.SendHard, ro.SendSoft+o.MaxMessage, syscall.EINVAL)
	}
	if run := 1 << bits.Len(uint(ro.RegionBytes)) >> 1; ro.RegionBytes > 0 && o.MaxMessage <= run+slack {
		return nil
	}
	pool := ro.Buffers * ro.BufferSize
	if o.MaxMessage <= pool/2 {
		return nil
	}
	return fmt.Errorf("mux: MaxMessage %d does not fit: large region %d bytes, receive buffers %d x %d = %d bytes: %w",
		o.MaxMessage, ro.RegionBytes, ro.Buffers, ro.BufferSize, pool, syscall.EINVAL)
}

// startLoops makes and starts the Mux's own loops by affinity's plan.
func startLoops(o *Options) ([]*ring.Loop, error) {
	top, err := affinity.Discover()
	if err != nil && o.Pin {
		return nil, fmt.Errorf("mux: %w", err)
	}
	n := o.Loops
	if n == 0 {
		n = max(1, runtime.GOMAXPROCS(0)-1)
		if top != nil {
			n = top.DefaultLoops(runtime.GOMAXPROCS(0))
		}
	}
	if err := o.fitMemory(n, budget.MemoryMax(os.DirFS("/"))); err != nil {
		return nil, err
	}
	var plan affinity.Plan
	if o.Pin {
		plan = top.Plan(affinity.Request{Loops: n, Off: affinity.OffByEnv()})
	}
	var loops []*ring.Loop
	for i := range n {
		ro := o.Ring
		if ro.Name == "" {
			ro.Name = fmt.Sprintf("%s/%d", o.Name, i)
		}
		if o.Pin && plan.Slots[i].CPU >= 0 {
			ro.Pin, ro.CPU = true, plan.Slots[i].CPU
		}
		l, err := ring.New(ro)
		if err == nil {
			err = l.Start()
		}
		if err == nil {
			err = l.Do(func() { labelLoop(o.Name, ro.Name) })
		}
		if err != nil {
			for _, l := range loops {
				_ = l.Close() // err is what the caller needs to know
			}
			return nil, fmt.Errorf("mux: loop %d: %w", i, err)
		}
		loops = append(loops, l)
	}
	return loops, nil
}

func processName() string {
	if len(os.Args) == 0 {
		return "kcm"
	}
	name := os.Args[0]
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			return name[i+1:]
		}
	}
	return name
}
