package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Schema is the version of Report's JSON. Within a version keys are only added.
const Schema = 1

// Report is the outcome of a run.
type Report struct {
	Schema int `json:"schema"`

	// Messages were answered rightly and belong to the measured time;
	// MessagesTotal is with warm-up.
	Messages      int64 `json:"messages"`
	MessagesTotal int64 `json:"messages_total"`
	// Seconds is the measured time: the duration, less if the run ended early.
	Seconds float64 `json:"seconds"`
	// PerSecond is Messages over Seconds; MBPerSecond the payload in one
	// direction, in units of 10^6 bytes.
	PerSecond   float64 `json:"messages_per_second"`
	MBPerSecond float64 `json:"mb_per_second"`

	// Errors is the sum of the five below, warm-up included.
	Errors    int64  `json:"errors"`
	Lost      int64  `json:"lost"`              // sent and not answered
	Unsent    int64  `json:"unsent"`            // open loop: due and not even sent when the run ended
	Corrupt   int64  `json:"corrupt"`           // replies with other length or content, or to nothing
	Duplicate int64  `json:"duplicate"`         // replies that had come before
	Broken    int64  `json:"broken"`            // connections that ended
	Failure   string `json:"failure,omitempty"` // in words

	// Latency counts from the intended time in an open loop, and in a closed one
	// from the time of sending. LatencyActual always counts from the time of
	// sending and Lateness from the intended time to that of sending; both exist
	// in an open loop only. OutOfRange times were longer than a minute.
	Latency       Quantiles  `json:"latency_us"`
	LatencyActual *Quantiles `json:"latency_actual_us,omitempty"`
	Lateness      *Quantiles `json:"lateness_us,omitempty"`
	OutOfRange    int64      `json:"out_of_range"`
	// Classes are the messages by service time, if they carry one.
	Classes []ClassReport `json:"classes,omitempty"`
	// Trace is each measured message, if the Config asked for it.
	Trace *Trace `json:"-"`

	// The workload. Size is a number or a string MIN-MAX; WarmupSeconds came
	// before Seconds.
	Conns         int     `json:"conns"`
	Depth         int     `json:"depth"`
	Size          Sizes   `json:"size"`
	Rate          float64 `json:"rate"` // 0: closed loop
	Arrival       string  `json:"arrival"`
	Seed          uint64  `json:"seed"`
	WarmupSeconds float64 `json:"warmup_seconds"`
	Service       string  `json:"service"` // as ParseService reads it; "0": none
	ServiceMode   string  `json:"service_mode"`
	Order         bool    `json:"order"` // whether replies had to come in order
	Frame         string  `json:"frame"`
	Target        string  `json:"target"` // where the server listened

	Env       Env         `json:"env"`
	Server    *LoopReport `json:"server,omitempty"`  // when embedded: its loops
	Policy    string      `json:"policy,omitempty"`  // likewise: who handled messages
	Workers   int         `json:"workers,omitempty"` // likewise
	Generator LoopReport  `json:"generator"`
	// AllocsPerMessage are heap allocations of this process while measuring:
	// generator and, if embedded, server.
	AllocsPerMessage float64 `json:"allocs_per_message"`
	// More of the workload: Kinds, if there are any, in place of Size and Service. Rate
	// with a Replay is the mean of the measured time.
	Kinds   []string `json:"kinds,omitempty"`   // as ParseKind reads them
	Profile string   `json:"profile,omitempty"` // as ParseProfile reads it
	Replay  string   `json:"replay,omitempty"`  // the file
	Batch   int      `json:"batch"`
	Think   string   `json:"think,omitempty"` // as ParseService reads it
	Churn   string   `json:"churn,omitempty"` // as ParseChurn reads it
	Idle    int      `json:"idle,omitempty"`  // connections beside those that send
	// GeneratorSpinMicros is how long its loops look for replies before they sleep.
	GeneratorSpinMicros float64 `json:"generator_spin_us,omitempty"`
	// Reconnects are connections that were made anew in the measured time, and
	// Connect how long each took, from wanting it.
	Reconnects int64      `json:"reconnects"`
	Connect    *Quantiles `json:"connect_us,omitempty"`

	// Verdict says whether the figures are those of the server.
	Verdict Verdict `json:"verdict"`

	// BeganUnixMillis is when measuring began, by this machine's clock, and Clock what the
	// system knew of that.
	BeganUnixMillis int64  `json:"began_unix_ms"`
	Clock           *Clock `json:"clock,omitempty"`

	// Series are the intervals, if the Config asked for any.
	Series []Point `json:"series,omitempty"`
	// Histograms are those that Latency and the like sum up, by the names that
	// Interval.Histograms has, and connect.
	Histograms map[string]*Hist `json:"histograms"`
	// Parts are the generators whose reports were merged.
	Parts []Part `json:"parts,omitempty"`
}

// ClassReport is the share of a Report that one Class has.
type ClassReport struct {
	Name          string    `json:"name"`
	ServiceMicros float64   `json:"service_us"` // or the mean
	Share         float64   `json:"share"`      // of the distribution, 0 to 1
	Messages      int64     `json:"messages"`
	Latency       Quantiles `json:"latency_us"` // as the Report's
	Size          Sizes     `json:"size"`
}

// report collects the figures after the threads have finished.
func (r *run) report() *Report {
	w := &r.Workload
	rep := &Report{
		Schema: Schema,
		Conns:  w.Conns, Depth: w.Depth, Size: w.Size, Rate: w.Rate, Arrival: w.Arrival.String(), Seed: w.Seed,
		WarmupSeconds: w.Warmup.Seconds(), Frame: w.Frame.String(), Target: r.address,
		Service: w.Service.String(), ServiceMode: w.Mode.String(), Order: !w.Unordered,
		Env: ReadEnv(r.top),
	}
	var sum tally
	total := r.figures.total
	latency, connects := NewHist(), NewHist()
	kinds := newKinds(w)
	for i, c := range kinds.classes {
		class := total.latency[i]
		mergeHist(latency, class)
		if kinds.named() {
			rep.Classes = append(rep.Classes, ClassReport{
				Name: c.Name, ServiceMicros: float64(c.Time) / 1e3, Share: c.Share,
				Messages: class.Count(), Latency: class.Quantiles(), Size: kinds.sizeOf(i),
			})
		}
	}
	rep.describe(w)
	rep.Idle, rep.GeneratorSpinMicros = r.Idle, float64(r.Spin)/float64(time.Microsecond)
	var measured time.Duration
	for _, g := range r.threads {
		sum.add(&g.result)
		rep.MessagesTotal += g.total
		measured = max(measured, g.until-g.from)
		if g.connects != nil {
			mergeHist(connects, g.connects)
		}
	}
	rep.Messages, rep.Seconds = sum.messages, measured.Seconds()
	if measured > 0 {
		rep.PerSecond = float64(sum.messages) / rep.Seconds
		rep.MBPerSecond = float64(sum.bytes) / 1e6 / rep.Seconds
	}
	rep.Errors = sum.errors()
	rep.Lost, rep.Unsent, rep.Corrupt = sum.lost, sum.unsent, sum.corrupt
	rep.Duplicate, rep.Broken = sum.duplicate, sum.broken
	rep.Latency, rep.OutOfRange = latency.Quantiles(), latency.Over()
	if w.Open() {
		a, l := total.actual.Quantiles(), total.lateness.Quantiles()
		rep.LatencyActual, rep.Lateness = &a, &l
	}
	if !w.Churn.none() {
		q := connects.Quantiles()
		rep.Connect, rep.Reconnects = &q, connects.Count()
	}

	if r.Record {
		rep.Trace = newTrace(w, r.threads)
	}

	before, after := &r.cost[0], &r.cost[1]
	n := after.messages - before.messages
	rep.Generator = loopReport(r.loops(), before.generator, after.generator, n)
	if r.server != nil {
		s := loopReport(r.server.Loops(), before.server, after.server, n)
		rep.Server = &s
		rep.Policy, rep.Workers = r.Config.Server.Dispatch.String(), r.Config.Server.Workers
	}
	rep.Series = r.figures.series
	rep.BeganUnixMillis, rep.Clock = r.figures.begin.UnixMilli(), readClock()
	rep.Histograms = make(map[string]*Hist)
	whole := Interval{Latency: latency, Actual: total.actual, Lateness: total.lateness, Names: r.figures.names}
	whole.Classes = total.latency[:len(whole.Names)]
	for _, h := range whole.Histograms() {
		rep.Histograms[h.Name] = h.Hist
	}
	if rep.Connect != nil {
		rep.Histograms[ConnectName] = connects
	}
	rep.AllocsPerMessage = float64(after.mallocs-before.mallocs) / float64(max(n, 1))
	if rep.Generator.Backend == uringName || rep.Server != nil && rep.Server.Backend == uringName {
		rep.Env.Features = features()
	}
	rep.Env.StealPercent = stealPercent(r.time[0], r.time[1])
	rep.Verdict = judge(rep, r.own(), r.MaxLateness)
	return rep
}

// describe fills in what of the workload is not in every one.
func (r *Report) describe(w *Workload) {
	r.Batch = w.batch()
	for _, k := range w.Kinds {
		r.Kinds = append(r.Kinds, k.String())
	}
	if w.Profile.Shape != Steady {
		r.Profile = w.Profile.String()
	}
	if w.Replay != nil {
		r.Replay = w.Replay.Name
		r.Rate = w.expected(w.Warmup, w.Warmup+w.Duration) / w.Duration.Seconds()
	}
	if !w.Think.None() {
		r.Think = w.Think.String()
	}
	if !w.Churn.none() {
		r.Churn = w.Churn.String()
	}
}

// loadText is the load in a line.
func (r *Report) loadText() string {
	var s string
	switch {
	case r.Replay != "":
		s = fmt.Sprintf("%.0f messages/s in all, schedule of %s (open loop), seed %d", r.Rate, r.Replay, r.Seed)
	case r.Rate > 0:
		s = fmt.Sprintf("%.0f messages/s in all, %s (open loop), seed %d", r.Rate, r.Arrival, r.Seed)
	default:
		s = fmt.Sprintf("%d in flight on each (closed loop)", r.Depth)
	}
	for _, part := range []struct{ name, value string }{{"profile", r.Profile}, {"think time", r.Think}, {"anew after", r.Churn}} {
		if part.value != "" {
			s += ", " + part.name + " " + part.value
		}
	}
	if r.Idle > 0 {
		s += fmt.Sprintf(", %d connections idle", r.Idle)
	}
	if r.GeneratorSpinMicros > 0 {
		s += fmt.Sprintf(", generator looks for replies for %.0f us", r.GeneratorSpinMicros)
	}
	if r.Batch > 1 {
		s += fmt.Sprintf(", %d in a write", r.Batch)
	}
	if !r.Order {
		s += ", replies in any order"
	}
	size := r.Size.String() + " bytes"
	if len(r.Kinds) > 0 {
		size = fmt.Sprintf("%d classes", len(r.Kinds))
	}
	return fmt.Sprintf("%d connections, %s, %s, %s", r.Conns, size, r.Frame, s)
}

// WriteJSON writes the report as one indented JSON object to a file.
func (r *Report) WriteJSON(file string) error { return writeJSON(file, r) }

// EncodeJSON writes what WriteJSON does.
func (r *Report) EncodeJSON(w io.Writer) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		_, err = w.Write(append(b, '\n'))
	}
	return err
}

func writeJSON(file string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return writeWhole(file, func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-11s %s\n", name, fmt.Sprintf(format, args...))
	}
	e := &r.Env
	line("kernel", "%s", e.Kernel)
	line("processor", "%s; CPUs %s, %d cores", known(e.CPU), known(e.CPUs), e.Cores)
	line("", "governor %s; mitigations: %s", known(e.Governor), known(e.Mitigations))
	if e.StealPercent != nil {
		line("", "%.1f%% of the time went to other virtual machines", *e.StealPercent)
	}
	line("program", "kcm %s, %s, GOMAXPROCS %d", known(e.Version), e.Go, e.GOMAXPROCS)
	if r.Server != nil {
		who := r.Policy
		if r.Workers > 0 {
			who = fmt.Sprintf("%s to %d workers", who, r.Workers)
		}
		line("server", "%s, %s, listening on %s", r.Server.Placement, who, r.Target)
	} else {
		line("server", "%s", r.Target)
	}
	line("generator", "%s", r.Generator.Placement)
	for _, n := range r.notes() {
		line("note", "%s", n)
	}
	line("load", "%s", r.loadText())
	for _, k := range r.Kinds {
		line("", "%s", k)
	}
	if len(r.Classes) > 0 && len(r.Kinds) == 0 {
		line("service", "%s, mode %s", r.Service, r.ServiceMode)
	}
	b.WriteByte('\n')

	line("messages", "%d in %.3f s (%d with %.3f s of warm-up)", r.Messages, r.Seconds, r.MessagesTotal, r.WarmupSeconds)
	line("rate", "%.0f messages/s, %.1f MB/s each way", r.PerSecond, r.MBPerSecond)
	if r.Server != nil {
		line("server", "%s", r.Server.usage())
	}
	line("generator", "%s", r.Generator.usage())
	line("memory", "%.4f heap allocations per message", r.AllocsPerMessage)
	b.WriteByte('\n')
	fmt.Fprintf(&b, "%-11s %s\n", "µs", quantileColumns)
	row := func(name string, q *Quantiles) {
		if q != nil {
			fmt.Fprintf(&b, "%-11s %s\n", name, q.columns())
		}
	}
	row("latency", &r.Latency)
	if len(r.Classes) > 1 {
		for i := range r.Classes {
			row("  "+r.Classes[i].Name, &r.Classes[i].Latency)
		}
	}
	row("from send", r.LatencyActual)
	row("lateness", r.Lateness)
	row("connecting", r.Connect)
	if r.OutOfRange > 0 {
		line("", "%d times over a minute count as a minute", r.OutOfRange)
	}
	b.WriteByte('\n')
	if r.Connect != nil {
		line("made anew", "%d connections", r.Reconnects)
	}
	line("errors", "%d (lost %d, unsent %d, corrupt %d, duplicate %d, connections %d)",
		r.Errors, r.Lost, r.Unsent, r.Corrupt, r.Duplicate, r.Broken)
	if r.Verdict.Valid {
		line("verdict", "valid: the generator kept up")
	}
	for _, why := range r.Verdict.Reasons {
		line("verdict", "not valid, the generator was the limit: %s", why)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func known(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// notes returns those of server and generator, each once.
func (r *Report) notes() []string {
	all := slices.Clone(r.Generator.Notes)
	if r.Server != nil {
		for _, n := range r.Server.Notes {
			if !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
	}
	return all
}
