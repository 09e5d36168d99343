package bench

import (
	"maps"
	"math"
	"runtime/metrics"
	"slices"
	"time"
)

// MaxIntervals is how many intervals a run may have.
const MaxIntervals = 100_000

// minInterval bounds what bringing intervals together costs.
const minInterval = 10 * time.Millisecond

// span is what one generator thread recorded between two times.
//
// A thread has spares of its own. At the boundary of an interval, between two turns of
// its loop, it hands over the one it has filled and goes on in a spare; Run's goroutine
// adds it to the others', clears it and gives it back. So there is no lock, no memory
// taken, and one histogram to record in per message, whether there are intervals or
// not: the figures of the whole run are the sum of its intervals.
//
// A thread without a spare goes on in the one it has, which gets longer. One whose loop
// stood still past a boundary hands over one long span. Number says at which boundary a
// span ends, from and to what it covers.
type span struct {
	owner    *generator
	number   int
	from, to time.Duration // since measuring began
	latency  []*Hist       // from the intended time, by class
	actual   *Hist         // from the time of sending; open loop only
	lateness *Hist         // time of sending minus intended time; open loop only
	inFlight int           // when it ended
	errors   int64         // in it
}

// spares is how many spans a thread has besides the one it fills.
const spares = 3

func newSpan(w *Workload, owner *generator) *span {
	s := &span{owner: owner}
	for range newKinds(w).classes {
		s.latency = append(s.latency, NewHist())
	}
	if w.Open() {
		s.actual, s.lateness = NewHist(), NewHist()
	}
	return s
}

// each calls fn for every histogram of s and the one of o that is its like.
func (s *span) each(o *span, fn func(mine, others *Hist)) {
	for i, h := range s.latency {
		fn(h, o.latency[i])
	}
	if s.actual != nil {
		fn(s.actual, o.actual)
		fn(s.lateness, o.lateness)
	}
}

// add adds what o recorded.
func (s *span) add(o *span) {
	s.inFlight += o.inFlight
	s.errors += o.errors
	s.each(o, mergeHist)
}

func (s *span) reset() {
	s.inFlight, s.errors = 0, 0
	s.each(s, func(h, _ *Hist) { h.Reset() })
}

// slice lets the thread hand over what it recorded, every so often. Before start.
func (g *generator) slice(every time.Duration, filled chan<- *span) {
	g.every, g.filled = every, filled
	g.spare = make(chan *span, spares)
	for range spares {
		g.spare <- newSpan(g.w, g)
	}
}

// firstBoundary is where the first span is to end.
func (g *generator) firstBoundary() time.Duration {
	if g.every < g.w.Duration {
		return g.from + g.every
	}
	return g.from + 2*g.every // see handOver
}

// handOver ends the current span at now, if there is a spare to go on in. It is called
// when now has passed the boundary. The last interval before the end of sending goes on
// with the replies that come after it, for one more length at most.
func (g *generator) handOver(now time.Duration) {
	number := int((now - g.from) / g.every)
	g.boundary = g.from + time.Duration(number+1)*g.every
	if now < g.end && g.boundary >= g.end {
		g.boundary += g.every
	}
	select {
	case next := <-g.spare:
		s := g.current
		g.endSpan(now)
		next.from = s.to
		g.current = next
		g.filled <- s // has room for the spans of all threads
	default:
	}
}

// endSpan writes down how things stand at the end of the current span.
func (g *generator) endSpan(now time.Duration) {
	s := g.current
	s.to = max(now-g.from, s.from)
	if g.every > 0 {
		s.number = int(s.to / g.every)
	}
	errors := g.result.errors()
	s.inFlight, s.errors = g.inFlight, errors-g.told
	g.told = errors
}

// wake asks for a turn at a time of the loop, or at the end of the interval if that is
// sooner; 0 is no time.
func (g *generator) wake(at time.Duration) {
	if g.every > 0 && (at == 0 || at > g.boundary) {
		at = g.boundary
	}
	g.loop.Alarm(at)
}

// Interval is what a run recorded in a part of its measured time: the replies that came
// in it. It is lent.
type Interval struct {
	Start    time.Time     // when it began
	From, To time.Duration // the same and its end, since measuring began
	// Latency is over all classes, Classes by class, if the Workload's Service has any;
	// Actual and Lateness exist in an open loop only. See Report.
	Latency          *Hist
	Classes          []*Hist
	Names            []string // of Classes
	Actual, Lateness *Hist
	InFlight         int   // when it ended
	Errors           int64 // in it
}

// Point is an Interval in figures. Its JSON is a line of the series.
type Point struct {
	UnixMillis int64      `json:"unix_ms"` // when it began
	From       float64    `json:"from_seconds"`
	To         float64    `json:"to_seconds"`
	Messages   int64      `json:"messages"`
	PerSecond  float64    `json:"messages_per_second"`
	Latency    Quantiles  `json:"latency_us"`
	Actual     *Quantiles `json:"latency_actual_us,omitempty"`
	Lateness   *Quantiles `json:"lateness_us,omitempty"`
	InFlight   int        `json:"in_flight"`
	Errors     int64      `json:"errors"`
}

// Point sums the interval up.
func (i *Interval) Point() Point {
	p := Point{
		UnixMillis: i.Start.UnixMilli(), From: i.From.Seconds(), To: i.To.Seconds(),
		Messages: i.Latency.Count(), Latency: i.Latency.Quantiles(),
		InFlight: i.InFlight, Errors: i.Errors,
	}
	if i.To > i.From {
		p.PerSecond = float64(p.Messages) / (i.To - i.From).Seconds()
	}
	if i.Actual != nil {
		a, l := i.Actual.Quantiles(), i.Lateness.Quantiles()
		p.Actual, p.Lateness = &a, &l
	}
	return p
}

// Histograms returns those of the interval by their names: latency, in an open loop
// actual and lateness, and class:NAME for each class.
func (i *Interval) Histograms() []NamedHist {
	all := []NamedHist{{LatencyName, i.Latency}}
	for k, h := range i.Classes {
		all = append(all, NamedHist{classPrefix + i.Names[k], h})
	}
	if i.Actual != nil {
		all = append(all, NamedHist{ActualName, i.Actual}, NamedHist{LatenessName, i.Lateness})
	}
	return all
}

// collector brings the spans of all threads together. It belongs to Run's goroutine.
type collector struct {
	w       *Workload
	begin   time.Time // of measuring
	total   *span     // of the whole run
	threads int
	names   []string           // of classes
	passed  map[*generator]int // the last boundary of each thread
	open    map[int]*gathered  // intervals that some thread has not passed
	free    []*gathered
	told    func(*Interval)
	mallocs uint64 // of heap objects by told: no cost of messages
	series  []Point
	latest  *Hist // since the last Progress
}

// gathered is an interval in the making.
type gathered struct {
	span
	threads int   // that have been added
	all     *Hist // over all classes
}

func newCollector(w *Workload, threads int, told func(*Interval)) *collector {
	c := &collector{
		w: w, total: newSpan(w, nil), threads: threads, told: told,
		passed: make(map[*generator]int), open: make(map[int]*gathered), latest: NewHist(),
	}
	if k := newKinds(w); k.named() {
		for _, class := range k.classes {
			c.names = append(c.names, class.Name)
		}
	}
	return c
}

// gather returns the open interval that ends at a boundary.
func (c *collector) gather(number int) *gathered {
	n := c.open[number]
	if n == nil {
		if k := len(c.free); k > 0 {
			n, c.free = c.free[k-1], c.free[:k-1]
		} else {
			n = &gathered{span: *newSpan(c.w, nil), all: NewHist()}
		}
		c.open[number] = n
	}
	return n
}

// take adds a span to the run and, if there are intervals, to the one it belongs to.
func (c *collector) take(s *span) {
	c.total.add(s)
	if s.owner.every == 0 {
		return
	}
	n := c.gather(s.number)
	if n.threads == 0 {
		n.from, n.to = s.from, s.to
	}
	n.threads++
	n.from, n.to = min(n.from, s.from), max(n.to, s.to)
	n.add(s)
	c.passed[s.owner] = s.number
	c.tell()
}

// end takes the last span of a thread.
func (c *collector) end(g *generator) {
	if c.passed[g] != math.MaxInt {
		c.take(g.current)
		c.passed[g] = math.MaxInt
		c.tell()
	}
}

// tell tells of the intervals that every thread has passed.
func (c *collector) tell() {
	if len(c.passed) < c.threads {
		return
	}
	last := math.MaxInt
	for _, n := range c.passed {
		last = min(last, n)
	}
	for _, number := range slices.Sorted(maps.Keys(c.open)) {
		if number > last {
			break
		}
		n := c.open[number]
		delete(c.open, number)
		c.tellOf(n)
		n.reset()
		n.all.Reset()
		n.threads = 0
		c.free = append(c.free, n)
	}
}

func (c *collector) tellOf(n *gathered) {
	i := Interval{
		Start: c.begin.Add(n.from), From: n.from, To: n.to, Latency: n.all,
		Names: c.names, Actual: n.actual, Lateness: n.lateness, InFlight: n.inFlight, Errors: n.errors,
	}
	for k, h := range n.latency {
		mergeHist(n.all, h)
		if c.names != nil {
			i.Classes = append(i.Classes, n.latency[k])
		}
	}
	mergeHist(c.latest, n.all)
	c.series = append(c.series, i.Point())
	if c.told != nil {
		before := objects()
		c.told(&i)
		c.mallocs += objects() - before
	}
}

// objects returns the number of heap objects allocated so far, as mallocs does, without
// stopping anything.
func objects() (n uint64) {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/tiny/allocs:objects"}}
	metrics.Read(s)
	for i := range s {
		n += s[i].Value.Uint64()
	}
	return n
}

// recent returns the median and the 99th percentile of what was told since the last
// call, as times.
func (c *collector) recent() (p50, p99 time.Duration) {
	q := c.latest.Quantiles()
	c.latest.Reset()
	micros := func(us float64) time.Duration { return time.Duration(us * 1e3) }
	return micros(q.P50), micros(q.P99)
}

// mergeHist adds one histogram of this package's range to another.
func mergeHist(to, from *Hist) {
	if err := to.Merge(from); err != nil {
		panic(err) // all of one range
	}
}
