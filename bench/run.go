package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/kcm-go/kcm/affinity"
	"github.com/kcm-go/kcm/ring"
)

// Config is one run: a Workload, against what, and from where.
type Config struct {
	Workload
	// Target is where the server listens, host:port or unix:/path. When empty a
	// Server with the options of Server runs in this process; it does the work of
	// the Workload's Service if that has any.
	Target string
	Server ServerOptions
	// Threads is the number of generator loops, 1 when zero; Backend is theirs.
	Threads int
	Backend ring.Backend
	// Spin is the longest time a generator loop looks for replies before it sleeps, as
	// ring.Options.Spin. Latencies are then without the time it takes to wake the generator.
	Spin time.Duration
	// Idle connections are made beside those that send, and stay open.
	Idle int
	// Pin puts each generator loop on a core of its own: behind those of the
	// embedded server in affinity's plan, or, if the server is elsewhere, the
	// last ones of the plan. KCM_AFFINITY=off overrides it.
	Pin bool
	// Drain is how long missing replies are waited for, and each connection to be made, 5 s
	// when zero.
	Drain time.Duration
	// Record keeps 24 bytes for each measured message, of MaxJobs at most, and has them
	// in the Report, as its Trace.
	Record bool
	// Progress, if not nil, is called every second.
	Progress func(Progress)
	// MaxLateness is how late the generator may send before the Verdict counts it, 1 ms
	// when zero.
	MaxLateness time.Duration
	// AnyVerdict lets a run succeed whose Verdict is that the generator was the limit. The
	// Report says so all the same.
	AnyVerdict bool
	// Interval cuts the measured time into parts of this length, 10 ms or more and
	// MaxIntervals at most, which are the Report's Series; 0 does not. Each generator
	// thread then needs 4 times the memory for its histograms.
	Interval time.Duration
	// OnInterval, if not nil, is called for each Interval as soon as it is over, on
	// Run's goroutine. What it gets is valid until it returns.
	OnInterval func(*Interval)
	// StartAt is when the first message is due, warm-up included, by this machine's clock:
	// a time that generators on several machines agree on. Connections are made before.
	// Zero is at once.
	StartAt time.Time
	// MaxClockError is how far the clock may be off for StartAt to mean anything, as the
	// system bounds it (see Clock): DefaultMaxClockError when zero, negative if that is
	// not to be looked at.
	MaxClockError time.Duration
}

// Progress is how far a run is.
type Progress struct {
	Elapsed, Total time.Duration // since the first message; warm-up included
	Messages       int64         // right replies so far, warm-up included
	PerSecond      float64       // since the last Progress
	InFlight       int64         // messages that wait for a reply
	Errors         int64         // so far
	// P50 and P99 are of the latencies in the intervals that ended since the last
	// Progress; 0 without any.
	P50, P99 time.Duration
}

const (
	// DefaultDrain is Config.Drain unless that is set.
	DefaultDrain = 5 * time.Second

	grace = time.Second // for the replies to come when a run is ended early
)

// Check returns an *OptionError for the first value that cannot work, or nil.
func (c *Config) Check() error {
	if err := c.Workload.Check(); err != nil {
		return err
	}
	if c.Threads < 0 || c.Threads > c.Conns {
		return &OptionError{"threads", c.Threads, fmt.Sprintf("1 to the number of connections, %d", c.Conns)}
	}
	if c.Spin < 0 {
		return &OptionError{"generator-spin", c.Spin, "a time, or 0"}
	}
	if c.Idle < 0 {
		return &OptionError{"idle", c.Idle, "0 or more"}
	}
	if c.Drain < 0 {
		return &OptionError{"timeout", c.Drain, "a time"}
	}
	if c.MaxLateness < 0 {
		return &OptionError{"max-lateness", c.MaxLateness, "a time"}
	}
	if c.Record && c.expected(c.Warmup, c.Warmup+c.Duration) > MaxJobs {
		return &OptionError{"rate", c.Rate, fmt.Sprintf("at most %d messages in all, if they are recorded", MaxJobs)}
	}
	if c.Interval != 0 && (c.Interval < minInterval || c.Duration/c.Interval > MaxIntervals) {
		return &OptionError{"interval", c.Interval, fmt.Sprintf("at least %v, and at most %d in the duration", minInterval, MaxIntervals)}
	}
	if c.Target != "" {
		if _, _, err := SplitAddress(c.Target); err != nil {
			return &OptionError{"target", c.Target, "host:port or unix:/path"}
		}
		return nil
	}
	most, limit := c.bounds().Max, c.Server.MaxMessage
	if limit == 0 {
		limit = DefaultMaxMessage
	}
	if most > limit {
		return &OptionError{"size", most, "at most max-message"}
	}
	o := c.serverOptions()
	return o.Check()
}

// serverOptions returns those of the embedded server.
func (c *Config) serverOptions() ServerOptions {
	o := c.Server
	o.Frame = c.Workload.Frame
	if c.works() {
		o.Work = WorkMessage
	}
	return o
}

// Run does one run and reports it. The error says why a run could not begin, in
// which case the Report is nil, or what went wrong in it: a connection ended, or a
// message was lost, came twice or came back changed. When ctx ends, nothing more is
// sent, replies are waited for, and the Report is of what was measured until then,
// with ctx's error.
func Run(ctx context.Context, c Config) (*Report, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c.Threads = max(c.Threads, 1)
	if c.Drain == 0 {
		c.Drain = DefaultDrain
	}
	if c.MaxLateness == 0 {
		c.MaxLateness = DefaultMaxLateness
	}
	top, err := affinity.Discover()
	if err != nil {
		top = nil // runs unpinned; the report has no CPUs
	}
	r := &run{Config: c, top: top}
	defer r.close()
	if err := r.checkStart(); err != nil {
		return nil, err
	}
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	if err := r.await(ctx); err != nil {
		return nil, err
	}
	err = r.measure(ctx)
	rep := r.report()
	if err == nil && !r.AnyVerdict && rep.Errors == r.own().unsent { // else the verdict is no news
		err = rep.Verdict.Err()
	}
	if err == nil {
		err = r.failure(rep)
	}
	if err == nil {
		err = r.cut()
	}
	switch {
	case ctx.Err() != nil:
		rep.Failure = "interrupted"
	case err != nil:
		rep.Failure = err.Error()
	}
	return rep, err
}

// run is the state of Run.
type run struct {
	Config
	top     *affinity.Topology
	address string // of the server
	server  *Server
	threads []*generator
	idle    []net.Conn
	running int // threads that have not ended
	ended   chan *generator
	start   time.Time
	missed  bool // replies, when the time to wait for them was over
	filled  chan *span
	figures *collector

	cost [2]sample  // when measuring begins and ends
	time [2]cpuTime // likewise
}

// own returns what the generator threads have to answer for.
func (r *run) own() (o own) {
	for _, g := range r.threads {
		o.add(g.blame)
	}
	return o
}

// sample is what has been used so far.
type sample struct {
	server, generator cost
	mallocs           uint64
	messages          int64
}

// cut is an error if there were more messages than are recorded.
func (r *run) cut() error {
	n := 0
	for _, g := range r.threads {
		if g.recorder != nil {
			n += g.recorder.cut
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("record: the last %d messages are not in it, as it has room for %d", n, MaxJobs)
}

// begin starts the embedded server and the generator threads and connects them.
func (r *run) begin(ctx context.Context) error {
	loops := 0
	r.address = r.Target
	if r.Target == "" {
		o := r.serverOptions()
		if o.Loops == 0 {
			o.Loops = r.serverLoops()
		}
		var err error
		if r.server, err = NewServer(o); err != nil {
			return err
		}
		r.address = r.server.Addr()
		loops = len(r.server.Loops())
	}
	network, address, err := SplitAddress(r.address)
	if err != nil {
		return fmt.Errorf("target %s: %w", r.address, err)
	}
	r.running, r.ended = r.Threads, make(chan *generator, r.Threads)
	r.filled = make(chan *span, r.Threads*(1+spares))
	r.figures = newCollector(&r.Workload, r.Threads, r.OnInterval)
	for i, cpu := range r.cpus(loops) {
		o := ring.Options{Backend: r.Backend, Spin: r.Spin, Pin: cpu >= 0, CPU: cpu}
		g, err := newGenerator(&r.Workload, i, r.Threads, o, r.ended, nil)
		if err != nil {
			return err
		}
		g.maxLateness = r.MaxLateness
		if r.Record {
			g.recorder = newRecorder(&r.Workload, len(g.conns))
		}
		if r.Interval > 0 {
			g.slice(r.Interval, r.filled)
		}
		r.threads = append(r.threads, g)
	}
	if address, err = r.resolve(ctx, network, address); err != nil {
		return r.explain(ctx, err)
	}
	for _, g := range r.threads {
		if err := g.dial(ctx, network, address, r.Drain); err != nil {
			return r.explain(ctx, err)
		}
	}
	return r.dialIdle(ctx, network, address)
}

// dialIdle makes the connections that nothing is sent on.
func (r *run) dialIdle(ctx context.Context, network, address string) error {
	var d net.Dialer
	for range r.Idle {
		each, cancel := context.WithTimeout(ctx, r.Drain)
		c, err := d.DialContext(each, network, address)
		cancel()
		if err != nil {
			return r.explain(ctx, fmt.Errorf("idle connection %d of %d: %w", len(r.idle)+1, r.Idle, err))
		}
		r.idle = append(r.idle, c)
	}
	return nil
}

// resolve replaces a name by one of its addresses, for connections to be made without
// waiting for that.
func (r *run) resolve(ctx context.Context, network, address string) (string, error) {
	if network != "tcp" {
		return address, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || net.ParseIP(host) != nil {
		return address, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Drain)
	defer cancel()
	all, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(all[0], port), nil
}

// explain says of an error of connecting that it is the end of the time for it.
func (r *run) explain(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("%s: no connection within %v: %w", r.address, r.Drain, err)
	}
	return err
}

// serverLoops leaves the generator a core for each of its threads if it can.
func (r *run) serverLoops() int {
	if r.top == nil {
		return 0
	}
	return max(1, min(r.top.DefaultLoops(runtime.GOMAXPROCS(0)), r.top.Physical-r.Threads))
}

// cpus returns the CPU of each generator thread, NoCPU for one that is not to be
// pinned.
func (r *run) cpus(serverLoops int) []int {
	cpus := make([]int, r.Threads)
	off := r.top == nil || !r.Pin || affinity.OffByEnv()
	var slots []affinity.Slot
	if !off {
		slots = r.top.Plan(affinity.Request{Loops: r.top.Allowed.Count()}).Slots
	}
	for i := range cpus {
		switch {
		case off:
			cpus[i] = affinity.NoCPU
		case r.Target == "":
			cpus[i] = slots[(serverLoops+i)%len(slots)].CPU
		default:
			cpus[i] = slots[len(slots)-1-i%len(slots)].CPU
		}
	}
	return cpus
}

// settle is how long before the measured time costs are first taken, so that
// taking them disturbs the warm-up.
const settle = 10 * time.Millisecond

// measure lets the threads run and waits for their end. The error is that of ctx.
func (r *run) measure(ctx context.Context) error {
	if r.start = r.StartAt; r.start.IsZero() {
		r.start = time.Now().Add(time.Millisecond)
	}
	r.figures.begin = r.start.Add(r.Warmup)
	for _, g := range r.threads {
		if err := g.start(r.start); err != nil {
			g.finish(err)
		}
	}
	end := r.start.Add(r.Warmup + r.Duration)
	r.wait(ctx, r.start.Add(max(0, r.Warmup-settle)))
	r.cost[0] = r.sample()
	r.time[0] = readCPUTime(os.DirFS("/"))
	r.wait(ctx, end)
	r.cost[1] = r.sample()
	r.time[1] = readCPUTime(os.DirFS("/"))
	finished := ctx.Err() == nil && r.wait(ctx, end.Add(r.Drain))
	if ctx.Err() != nil && !finished {
		for _, g := range r.threads {
			g.cut()
		}
		finished = r.wait(context.WithoutCancel(ctx), time.Now().Add(min(r.Drain, grace)))
	}
	if !finished {
		r.missed = true
		r.stop()
	}
	r.gather()
	return ctx.Err()
}

// gather takes what the threads recorded last.
func (r *run) gather() {
	for {
		select {
		case s := <-r.filled:
			r.take(s)
			continue
		default:
		}
		break
	}
	for _, g := range r.threads {
		r.figures.end(g)
	}
}

// take takes a span and gives it back to its thread.
func (r *run) take(s *span) {
	r.figures.take(s)
	s.reset()
	s.owner.spare <- s // has room for all of them
}

// wait waits until a time, or until ctx ends, or until every thread has ended, and
// reports the latter. A thread that fails ends the others. Progress is told
// meanwhile.
func (r *run) wait(ctx context.Context, until time.Time) (finished bool) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	var second <-chan time.Time
	if r.Progress != nil {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		second = t.C
	}
	before, last := r.messages(), time.Now()
	for r.running > 0 {
		select {
		case g := <-r.ended:
			r.running--
			if g.failure != nil {
				r.stop()
			}
		case <-ctx.Done():
			return false
		case <-timer.C:
			return false
		case s := <-r.filled:
			r.take(s)
		case now := <-second:
			n := r.messages()
			p := r.progress()
			p.Messages, p.PerSecond = n, float64(n-before)/now.Sub(last).Seconds()
			p.Elapsed, p.Total = now.Sub(r.start), r.Warmup+r.Duration
			r.Progress(p)
			before, last = n, now
		}
	}
	return true
}

// progress returns how the threads stand.
func (r *run) progress() (p Progress) {
	for _, g := range r.threads {
		p.InFlight += g.liveInFlight.Load()
		p.Errors += g.liveErrors.Load()
	}
	p.P50, p.P99 = r.figures.recent()
	return p
}

func (r *run) stop() {
	for _, g := range r.threads {
		g.stop()
	}
}

func (r *run) messages() (n int64) {
	for _, g := range r.threads {
		n += g.live.Load()
	}
	return n
}

func (r *run) sample() sample {
	s := sample{messages: r.messages(), mallocs: mallocs() - r.figures.mallocs, generator: costOf(r.loops())}
	if r.server != nil {
		s.server = costOf(r.server.Loops())
	}
	return s
}

// loops returns the generator's.
func (r *run) loops() []*ring.Loop {
	var all []*ring.Loop
	for _, g := range r.threads {
		all = append(all, g.loop)
	}
	return all
}

// failure sums up what went wrong, nil if nothing did.
func (r *run) failure(rep *Report) error {
	var why string
	for _, g := range r.threads {
		if g.failure != nil {
			return fmt.Errorf("%s: %w", r.address, g.failure)
		}
		if why == "" {
			why = g.mismatch
		}
	}
	if rep.Errors == 0 {
		return nil
	}
	s := fmt.Sprintf("%s: %d messages lost, %d not sent in time, %d replies corrupt, %d duplicate",
		r.address, rep.Lost, rep.Unsent, rep.Corrupt, rep.Duplicate)
	if why != "" {
		s += ": " + why
	} else if r.missed {
		s += fmt.Sprintf(": %v after the end replies were still missing", r.Drain)
	}
	return errors.New(s)
}

// close ends the threads, then the server.
func (r *run) close() {
	for _, g := range r.threads {
		_ = g.close() // nothing is left to lose
	}
	for _, c := range r.idle {
		_ = c.Close() // likewise
	}
	if r.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = r.server.Shutdown(ctx) // likewise
	}
}
