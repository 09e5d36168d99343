package muxprom

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
)

// patience is how long a scrape waits for the loops.
const patience = time.Second

// Collector implements prometheus.Collector. Make one with [New].
type Collector struct {
	sampler *mux.Sampler

	up    *prometheus.Desc
	info  *prometheus.Desc
	delay *prometheus.Desc
	mux   []described[mux.Stats]
	loops []described[ring.LoopStats]
}

// described is a metric with the description that has the labels in it.
type described[T any] struct {
	metric[T]
	desc *prometheus.Desc
}

// New returns a collector of m, which it keeps from being collected as garbage; unregister
// it to let go. Collectors of several Muxes can be registered together if their names differ.
// Safe for concurrent use.
func New(m *mux.Mux) *Collector {
	return newCollector(mux.NewSampler(m), prometheus.Labels{"mux": m.Name()})
}

func newCollector(s *mux.Sampler, labels prometheus.Labels) *Collector {
	c := &Collector{
		sampler: s,
		up:      prometheus.NewDesc("kcm_mux_up", "Whether all loops have answered: 1, or 0 when the figures are older ones.", nil, labels),
		info:    prometheus.NewDesc("kcm_loop_info", "A loop and the back end that it runs on; always 1.", []string{"loop", "backend"}, labels),
		delay: prometheus.NewDesc("kcm_mux_delay_seconds",
			"How long messages waited for a reader, in seconds, by batch.", nil, labels),
	}
	c.mux = describe(muxMetrics, labels, nil)
	c.loops = describe(loopMetrics, labels, []string{"loop"})
	return c
}

func describe[T any](metrics []metric[T], labels prometheus.Labels, variable []string) []described[T] {
	out := make([]described[T], len(metrics))
	for i, m := range metrics {
		out[i] = described[T]{m, prometheus.NewDesc(m.name, m.help, variable, labels)}
	}
	return out
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.info, c.delay} {
		ch <- d
	}
	for i := range c.mux {
		ch <- c.mux[i].desc
	}
	for i := range c.loops {
		ch <- c.loops[i].desc
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	x, fresh := c.sampler.Sample(patience)
	c.collect(ch, &x, fresh)
}

func (c *Collector) collect(ch chan<- prometheus.Metric, x *mux.Sample, fresh bool) {
	up := 0.0
	if fresh {
		up = 1
	}
	ch <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, up)
	if len(x.Loops) == 0 { // never sampled: zeroes would be taken for counters that began anew
		return
	}
	for i := range c.mux {
		m := &c.mux[i]
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&x.Stats))
	}
	ch <- delays(c.delay, &x.Stats.Delay)
	seen := map[string]bool{}
	for j := range x.Loops {
		l := &x.Loops[j]
		name := l.Name
		if seen[name] { // loops of Options.On and with Ring.Name may be called alike
			name = fmt.Sprintf("%s#%d", name, j)
		}
		seen[name] = true
		ch <- prometheus.MustNewConstMetric(c.info, prometheus.GaugeValue, 1, name, l.Backend)
		for i := range c.loops {
			m := &c.loops[i]
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&l.Stats), name)
		}
	}
}

// delays makes a histogram of d. Bucket i has delays of i bits of microseconds: below 2^i.
// The last has all that are longer as well.
func delays(desc *prometheus.Desc, d *mux.DelayStats) prometheus.Metric {
	buckets := make(map[float64]uint64, len(d.Buckets)-1)
	var below uint64
	for i, n := range d.Buckets[:len(d.Buckets)-1] {
		below += n
		buckets[(time.Duration(1<<i) * time.Microsecond).Seconds()] = below
	}
	return prometheus.MustNewConstHistogram(desc, d.Count, d.Sum.Seconds(), buckets)
}
