package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Names of histograms.
const (
	LatencyName  = "latency"
	ActualName   = "actual"
	LatenessName = "lateness"
	ConnectName  = "connect"
	classPrefix  = "class:"
)

// NamedHist is a histogram and its name.
type NamedHist struct {
	Name string
	*Hist
}

// histJSON is the JSON of a Hist: times in nanoseconds, and the counts in the
// compressed form V2 of the HdrHistogram project, in base64.
type histJSON struct {
	Count int64   `json:"count"`
	Over  int64   `json:"over"` // times of more than a minute
	Max   int64   `json:"max_ns"`
	Sum   float64 `json:"sum_ns"`
	V2    string  `json:"v2"`
}

// MarshalJSON writes the whole histogram.
func (h *Hist) MarshalJSON() ([]byte, error) {
	b, err := h.h.EncodeV2()
	if err != nil {
		return nil, err
	}
	return json.Marshal(histJSON{h.Count(), h.over, h.max, h.sum, string(b)})
}

// UnmarshalJSON reads what MarshalJSON has written. The error says that it is damaged, or
// that the histogram is none of this package's range and precision.
func (h *Hist) UnmarshalJSON(b []byte) error {
	var j histJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	if err := h.decode(j.V2); err != nil {
		return err
	}
	h.over, h.max, h.sum = j.Over, j.Max, j.Sum
	if j.Count != h.Count() {
		return fmt.Errorf("histogram: it has %d times, and says %d", h.Count(), j.Count)
	}
	return nil
}

// decode reads a histogram in form V2. Sum and maximum are then those of its buckets.
func (h *Hist) decode(v2 string) error {
	if strings.TrimSpace(v2) == "" {
		return errors.New("histogram: empty")
	}
	d, err := hdrhistogram.Decode([]byte(v2))
	if err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	if d.LowestTrackableValue() != histLowest || d.HighestTrackableValue() != histHighest || d.SignificantFigures() != histDigits {
		return fmt.Errorf("histogram: from %d to %d ns with %d digits, want %d to %d with %d",
			d.LowestTrackableValue(), d.HighestTrackableValue(), d.SignificantFigures(), histLowest, int64(histHighest), histDigits)
	}
	h.h, h.max, h.over = d, d.Max(), 0
	h.sum = d.Mean() * float64(d.TotalCount())
	return nil
}
