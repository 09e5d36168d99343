//go:build linux

package muxprom

import (
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

func echo(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
	from.Send(msg)
	return mux.Done
}

func newMux(t *testing.T, o mux.Options) *mux.Mux {
	t.Helper()
	o.Format = strparser.Length32
	m, err := mux.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	m.Handle(echo)
	return m
}

// exchange sends a message of five bytes besides its length on a new connection of m's, and
// waits for it to come back.
func exchange(t *testing.T, m *mux.Mux) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Attach(s); err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	c.Write([]byte("\x00\x00\x00\x05hello"))
	if n, err := c.Read(make([]byte, 9)); n != 9 || err != nil {
		t.Fatalf("read %d bytes: %v", n, err)
	}
}

func registry(t *testing.T, cs ...prometheus.Collector) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	for _, c := range cs {
		if err := r.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func gather(t *testing.T, r *prometheus.Registry) map[string]*dto.MetricFamily {
	t.Helper()
	fs, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]*dto.MetricFamily{}
	for _, f := range fs {
		m[f.GetName()] = f
	}
	return m
}

// The library's own rules for names and helps, and ours: the text is a sentence.
func TestLint(t *testing.T) {
	r := registry(t, New(newMux(t, mux.Options{Name: "shop", Loops: 2})))
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for name, f := range gather(t, r) {
		if h := f.GetHelp(); !strings.HasPrefix(name, "kcm_") || len(h) < 15 || !strings.HasSuffix(h, ".") {
			t.Errorf("%s: %q", name, h)
		}
	}
}

// What the name says that a figure is, a unit of bytes or seconds, its help says as well.
func TestHelpSaysTheUnit(t *testing.T) {
	for name, f := range gather(t, registry(t, New(newMux(t, mux.Options{Loops: 1})))) {
		for _, unit := range []string{"bytes", "seconds", "messages", "connections", "buffers"} {
			if strings.Contains(name, unit) && !strings.Contains(strings.ToLower(f.GetHelp()), strings.TrimSuffix(unit, "s")) {
				t.Errorf("%s: %q does not say %s", name, f.GetHelp(), unit)
			}
		}
	}
}

// number gives each number of a structure a value of its own and returns them by name.
func number(v reflect.Value, path string, next *int, into map[int]string) {
	for i := range v.NumField() {
		name := path + v.Type().Field(i).Name
		switch f := v.Field(i); {
		case f.Type() == reflect.TypeFor[mux.DelayStats]():
		case f.Kind() == reflect.Struct:
			number(f, name+".", next, into)
		case f.CanUint():
			*next++
			f.SetUint(uint64(*next))
			into[*next] = name
		case f.CanInt():
			*next++
			f.SetInt(int64(*next))
			into[*next] = name
		}
	}
}

// complete checks that each number of T is in one metric, and that totals are counters and
// nothing else is.
func complete[T any](t *testing.T, metrics []metric[T]) {
	t.Helper()
	var s T
	next, fields := 1000, map[int]string{}
	number(reflect.ValueOf(&s).Elem(), "", &next, fields)
	if len(fields) < 10 {
		t.Fatalf("%d numbers in %T", len(fields), s)
	}
	for _, m := range metrics {
		v := int(m.value(&s))
		field, ok := fields[v]
		if !ok && m.name != "kcm_mux_delay_max_seconds" {
			t.Errorf("%s is of no number, or of one that another metric has", m.name)
			continue
		}
		delete(fields, v)
		total := ok && reflectField(reflect.ValueOf(s), field).Kind() == reflect.Uint64
		if total != (m.kind == counter) || total != strings.HasSuffix(m.name, "_total") {
			t.Errorf("%s, of %s: total is %v, counter %v", m.name, field, total, m.kind == counter)
		}
	}
	for _, f := range fields {
		t.Errorf("%T.%s is in no metric", s, f)
	}
}

func reflectField(v reflect.Value, path string) reflect.Value {
	for name := range strings.SplitSeq(path, ".") {
		v = v.FieldByName(name)
	}
	return v
}

func TestMetricsAreComplete(t *testing.T) {
	complete(t, muxMetrics)
	complete(t, loopMetrics)
}

// The delays are a histogram whose buckets add up.
func TestDelays(t *testing.T) {
	d := mux.DelayStats{Count: 10, Sum: 25 * time.Millisecond, Max: 20 * time.Minute}
	d.Buckets[0] = 1  // below 1 us
	d.Buckets[3] = 4  // below 8 us
	d.Buckets[10] = 3 // below 1024 us
	d.Buckets[len(d.Buckets)-1] = 2
	var m dto.Metric
	if err := delays(prometheus.NewDesc("x", "", nil, nil), &d).Write(&m); err != nil {
		t.Fatal(err)
	}
	h := m.GetHistogram()
	if h.GetSampleCount() != 10 || h.GetSampleSum() != 0.025 {
		t.Errorf("%d delays of %v s in all", h.GetSampleCount(), h.GetSampleSum())
	}
	want := map[float64]uint64{1e-6: 1, 4e-6: 1, 8e-6: 5, 512e-6: 5, 1024e-6: 8, 1073.741824: 8}
	for _, b := range h.GetBucket() {
		if n, ok := want[b.GetUpperBound()]; ok {
			delete(want, b.GetUpperBound())
			if b.GetCumulativeCount() != n {
				t.Errorf("up to %v s: %d, want %d", b.GetUpperBound(), b.GetCumulativeCount(), n)
			}
		}
	}
	if len(want) > 0 || len(h.GetBucket()) != len(d.Buckets)-1 {
		t.Errorf("%d buckets; missing: %v", len(h.GetBucket()), want)
	}
}

// What a scrape has is what the Mux has counted; labels are mux and loop, and nothing for a
// connection.
func TestScrape(t *testing.T) {
	shop, bank := newMux(t, mux.Options{Name: "shop", Loops: 2}), newMux(t, mux.Options{Name: "bank", Loops: 1})
	for range 3 {
		exchange(t, shop)
	}
	exchange(t, bank)
	r := registry(t, New(shop), New(bank))
	if err := testutil.GatherAndCompare(r, strings.NewReader(`
# HELP kcm_mux_received_bytes_total Bytes of streams that parsers consumed.
# TYPE kcm_mux_received_bytes_total counter
kcm_mux_received_bytes_total{mux="bank"} 9
kcm_mux_received_bytes_total{mux="shop"} 27
# HELP kcm_mux_connections Connections open now.
# TYPE kcm_mux_connections gauge
kcm_mux_connections{mux="bank"} 1
kcm_mux_connections{mux="shop"} 3
# HELP kcm_mux_up Whether all loops have answered: 1, or 0 when the figures are older ones.
# TYPE kcm_mux_up gauge
kcm_mux_up{mux="bank"} 1
kcm_mux_up{mux="shop"} 1
`), "kcm_mux_received_bytes_total", "kcm_mux_connections", "kcm_mux_up"); err != nil {
		t.Error(err)
	}
	fs := gather(t, r)
	var loops []string
	for _, m := range fs["kcm_loop_info"].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "loop" {
				loops = append(loops, l.GetValue())
			}
		}
	}
	slices.Sort(loops)
	if want := []string{"bank/0", "shop/0", "shop/1"}; !slices.Equal(loops, want) {
		t.Errorf("loops %v, want %v", loops, want)
	}
	for name, f := range fs {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !slices.Contains([]string{"mux", "loop", "backend"}, l.GetName()) {
					t.Errorf("%s has the label %s", name, l.GetName())
				}
			}
		}
	}
}

// Loops may have the same name.
func TestLoopsCalledAlike(t *testing.T) {
	m := newMux(t, mux.Options{Loops: 2, Ring: ring.Options{Name: "same"}})
	if n := len(gather(t, registry(t, New(m)))["kcm_loop_turns_total"].GetMetric()); n != 2 {
		t.Errorf("%d loops, want 2", n)
	}
}

// While a handler does not return scrapes have the last figures, and say so.
func TestScrapeOfAStuckMux(t *testing.T) {
	m := newMux(t, mux.Options{Name: "shop", Loops: 1})
	r := registry(t, New(m))
	exchange(t, m)
	if up := gather(t, r)["kcm_mux_up"].GetMetric()[0].GetGauge().GetValue(); up != 1 {
		t.Fatalf("up is %v", up)
	}
	entered, leave := make(chan struct{}), make(chan struct{})
	defer close(leave)
	m.Loops()[0].Post(func() { close(entered); <-leave })
	<-entered
	fs := gather(t, r)
	if up, n := fs["kcm_mux_up"].GetMetric()[0].GetGauge().GetValue(), fs["kcm_mux_received_messages_total"].GetMetric()[0].GetCounter().GetValue(); up != 0 || n != 1 {
		t.Errorf("up is %v, messages %v", up, n)
	}
	// One that has never answered has no counters, which would seem to begin at zero.
	if fs := gather(t, registry(t, New(m))); len(fs) != 1 || fs["kcm_mux_up"] == nil {
		t.Errorf("%d families", len(fs))
	}
}
