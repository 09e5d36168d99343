package bench

import (
	"math"
	"strings"
	"testing"
	"time"
)

// mixed returns kinds by their text.
func mixed(t *testing.T, texts ...string) (list []Kind) {
	t.Helper()
	for _, text := range texts {
		k, err := ParseKind(text, Kind{Size: Sizes{Min: 64, Max: 64}})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		list = append(list, k)
	}
	return list
}

func TestKindsAsText(t *testing.T) {
	for text, want := range map[string]string{
		"get 90%":                       "get 90% size=64 service=0",
		"put 10% size=1KiB service=1ms": "put 10% size=1024 service=1ms",
		"x 0.5% service=bimodal:1us,2us,5% size=exp:100,13-1KiB": "x 0.5% size=exp:100,13-1024 service=bimodal:1us,2us,5%",
	} {
		if k := mixed(t, text)[0]; k.String() != want {
			t.Errorf("%s: %s, want %s", text, k, want)
		}
	}
	for _, text := range []string{"", "get", "get 90", "get 90% size", "get 90% colour=red", "get 90% size=-1", "get x%"} {
		if k, err := ParseKind(text, Kind{}); err == nil {
			t.Errorf("%q: %v, want an error", text, k)
		}
	}
}

func TestKindsAreChecked(t *testing.T) {
	for want, texts := range map[string][]string{
		"":                  {"a 50%", "b 50%"},
		"100% of the":       {"a 50%", "b 49%"},
		"a name of its own": {"a 50%", "a 50%"},
		"a share":           {"a 101%"},
		"at least 13":       {"a 50% service=1us", "b 50% size=8"},
	} {
		w := good()
		w.Kinds = mixed(t, texts...)
		err := w.Check()
		if (err == nil) != (want == "") || err != nil && (!strings.HasPrefix(err.Error(), "class ") || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", texts, err, want)
		}
	}
}

// Shares, sizes and times are those of each kind, and what is foretold is what is run.
func TestRunWithKinds(t *testing.T) {
	c := short("")
	c.Kinds = mixed(t, "small 70% size=20", "large 20% size=1000-2000 service=1us", "slow 10% size=64 service=500us")
	c.Conns, c.Rate, c.Duration, c.Record, c.Unordered = 4, 2000, 300*time.Millisecond, true, true
	rep := succeed(t, c)
	if len(rep.Classes) != 3 || len(rep.Kinds) != 3 {
		t.Fatalf("%+v, %q", rep.Classes, rep.Kinds)
	}
	sum := int64(0)
	for i, class := range rep.Classes {
		k := c.Kinds[i]
		want := k.Percent / 100 * float64(rep.Messages)
		if class.Name != k.Name || class.Size != k.Size || class.Share != k.Percent/100 ||
			math.Abs(float64(class.Messages)-want) > 5*math.Sqrt(want) {
			t.Errorf("%+v, want about %.0f messages of %v", class, want, k)
		}
		sum += class.Messages
	}
	if sum != rep.Messages || rep.Classes[2].Latency.P50 < 500 {
		t.Errorf("%d of %d messages have a class; %+v", sum, rep.Messages, rep.Classes[2])
	}
	jobs, err := c.Jobs()
	if err != nil {
		t.Fatal(err)
	}
	var foretold [3]int64
	for _, j := range jobs.List {
		foretold[j.Class]++
		if want := []time.Duration{0, time.Microsecond, 500 * time.Microsecond}[j.Class]; j.Service != want {
			t.Fatalf("%+v", j)
		}
	}
	for i, class := range rep.Classes {
		if foretold[i] != class.Messages {
			t.Errorf("%s: %d messages, foretold %d", class.Name, class.Messages, foretold[i])
		}
	}
}
