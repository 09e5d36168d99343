package bench

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// record is one measured message.
type record struct {
	intended time.Duration // from the start of the run
	latency  time.Duration // from then on
	number   uint64
}

// recorder keeps the records of one thread. Adding one allocates nothing: in an open
// loop there is room from the start for as many as the schedule has; beyond, and in a
// closed loop, memory is taken a chunk ahead, between the turns of the loop.
type recorder struct {
	full    [][]record
	current []record
	spare   []record
	left    int // records to come, at most
	cut     int // that were too many
}

const (
	recordChunk = 1 << 16
	maxRecords  = 1 << 24 // taken at the start
)

// newRecorder makes room for the share of w's measured messages that conns
// connections have.
func newRecorder(w *Workload, conns int) *recorder {
	n := w.expected(w.Warmup, w.Warmup+w.Duration) * float64(conns) / float64(w.Conns)
	n += 6*math.Sqrt(n) + float64(conns) // Poisson arrivals, and a part of a round
	r := &recorder{current: make([]record, 0, int(min(n, maxRecords))), left: MaxJobs * conns / w.Conns}
	r.ahead()
	return r
}

func (r *recorder) add(rec record) {
	if r.left == 0 {
		r.cut++
		return
	}
	r.left--
	if len(r.current) == cap(r.current) {
		r.full = append(r.full, r.current)
		r.current, r.spare = r.spare, nil
	}
	r.current = append(r.current, rec)
}

// ahead has the next chunk ready.
func (r *recorder) ahead() {
	if r.spare == nil {
		r.spare = make([]record, 0, recordChunk)
	}
}

// Trace is what became of each measured message that was answered.
type Trace struct {
	contents contents
	records  []record // in order of intended time
}

// newTrace puts the records of several threads together.
func newTrace(w *Workload, threads []*generator) *Trace {
	t := &Trace{contents: newContents(w)}
	n := 0
	each := func(use func([]record)) {
		for _, g := range threads {
			for _, chunk := range g.recorder.full {
				use(chunk)
			}
			use(g.recorder.current)
		}
	}
	each(func(c []record) { n += len(c) })
	t.records = make([]record, 0, n)
	each(func(c []record) { t.records = append(t.records, c...) })
	slices.SortFunc(t.records, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.intended, b.intended), cmp.Compare(a.number, b.number))
	})
	return t
}

// traceHeader is the first line of a trace.
const traceHeader = "intended_ns,service_ns,class,conn,latency_ns"

// WriteCSV writes the trace to a file, one line a message after a line that names the
// columns: intended_ns is when the message was due (closed loop: sent), from the start
// of the run, latency_ns the time from then to the reply, service_ns the work asked
// for, class the name of its Class, conn the connection, from 0.
func (t *Trace) WriteCSV(file string) error {
	return writeWhole(file, t.writeCSV)
}

func (t *Trace) writeCSV(to io.Writer) error {
	w := bufio.NewWriter(to)
	fmt.Fprintln(w, traceHeader)
	for _, r := range t.records {
		d, class := t.contents.service(r.number)
		fmt.Fprintf(w, "%d,%d,%s,%d,%d\n", r.intended, d, t.contents.classes[class].Name, r.number>>seqBits, r.latency)
	}
	return w.Flush()
}
