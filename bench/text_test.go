package bench

import (
	"strings"
	"testing"
)

// What a flag takes and what is printed of it are one language: a text that can be read
// is printed as one that is read as the same, and can be run.
func FuzzLoadsAsText(f *testing.F) {
	for _, text := range []string{
		"64", "0-4KiB", "exp:1KiB,8-64KiB", "lognormal:100,0.5", "bimodal:64,16KiB,5%",
		"10us", "10us-50us", "exp:10us", "lognormal:10us,1", "bimodal:10us,2ms,1%",
		"bursty:10ms,90ms", "ramp:1000", "step:500,2s", "steady",
		"len32", "len16le,inclusive,offset=3", "100", "5s", "get 90% size=exp:100 service=1us",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "file:") {
			return
		}
		if s, err := ParseSizes(text); err == nil {
			if again, err := ParseSizes(s.String()); err != nil || again != s {
				t.Errorf("sizes %q: %v, read again %v, %v", text, s, again, err)
			}
			for number := range uint64(10) {
				if n := s.draw(1, number); n < s.Min || n > s.Max {
					t.Errorf("sizes %q: %d bytes", text, n)
				}
			}
		}
		if s, err := ParseService(text); err == nil {
			if again, err := ParseService(s.String()); err != nil || again != s || s.problem() != "" {
				t.Errorf("service %q: %v, read again %v, %v", text, s, again, err)
			}
			for number := range uint64(10) {
				if d, _ := s.draw(1, number); d < 0 || s.Shape != Exponential && d > MaxService {
					t.Errorf("service %q: %v", text, d)
				}
			}
		}
		if p, err := ParseProfile(text); err == nil {
			if again, err := ParseProfile(p.String()); err != nil || again != p {
				t.Errorf("profile %q: %v, read again %v, %v", text, p, again, err)
			}
			w := good()
			w.Rate, w.Profile = 1000, p
			if w.Check() != nil {
				t.Errorf("profile %q: %v", text, w.Check())
			}
			last := int64(0)
			for s := NewSchedule(&w, 0, 1); s.At < int64(w.Duration) && s.cycle < 1000; s.Next() {
				if s.At < last {
					t.Fatalf("profile %q: a message at %d after one at %d", text, s.At, last)
				}
				last = s.At
			}
		}
		if fr, err := ParseFrame(text); err == nil {
			if again, err := ParseFrame(fr.String()); err != nil || again != fr || !fr.holds(64) {
				t.Errorf("frame %q: %v, read again %v, %v", text, fr, again, err)
			}
		}
		if c, err := ParseChurn(text); err == nil {
			if again, err := ParseChurn(c.String()); err != nil || again != c {
				t.Errorf("churn %q: %v, read again %v, %v", text, c, again, err)
			}
		}
		if k, err := ParseKind(text, Kind{}); err == nil {
			if again, err := ParseKind(k.String(), Kind{}); err != nil || again != k && k.Percent == k.Percent {
				t.Errorf("kind %q: %v, read again %v, %v", text, k, again, err)
			}
		}
	})
}
