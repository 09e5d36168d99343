package bench

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// file writes lines to a new file.
func file(t *testing.T, lines ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "values")
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestSizeDistributionsAsText(t *testing.T) {
	for text, want := range map[string]string{
		"exp:1KiB":                       "exp:1024,0-16384",
		"exp:100,8-500":                  "exp:100,8-500",
		"lognormal:1KiB,0.5,13-64KiB":    "lognormal:1024,0.5,13-65536",
		"lognormal:100,1":                "lognormal:100,1,0-14841", // e^5 medians
		"bimodal:64,64KiB,5%":            "bimodal:64,65536,5%",
		"lognormal:64MiB,10,1KiB-512KiB": "lognormal:67108864,10,1024-524288",
	} {
		s, err := ParseSizes(text)
		if err != nil || s.String() != want || s.problem() != "" {
			t.Errorf("%s: %v, %v, want %s", text, s, err, want)
			continue
		}
		again, err := ParseSizes(s.String())
		if err != nil || again != s {
			t.Errorf("%s: read again %v, %v", text, again, err)
		}
		b, err := json.Marshal(s)
		var back Sizes
		if err != nil || json.Unmarshal(b, &back) != nil || back != s {
			t.Errorf("%s: %s, %v and back %v", text, b, err, back)
		}
	}
	for _, text := range []string{"exp:", "exp:0", "exp:1,2,3", "lognormal:10", "lognormal:10,0", "lognormal:10,11", "lognormal:10,NaN",
		"bimodal:64,64,5%", "bimodal:64,32,5%", "bimodal:1,2,0%", "bimodal:1,2,5", "normal:5", "file:", "file:/nonexistent"} {
		if s, err := ParseSizes(text); err == nil {
			t.Errorf("%s: %v, want an error", text, s)
		}
	}
}

// Mean, or median, and bounds are those that were asked for.
func TestSizesAreTheDistribution(t *testing.T) {
	const n = 200_000
	for text, check := range map[string]func(mean, median float64) (got, want float64){
		"10-110":                 func(mean, _ float64) (float64, float64) { return mean, 60 },
		"exp:1000":               func(mean, _ float64) (float64, float64) { return mean, 1000 },
		"lognormal:1000,1":       func(_, median float64) (float64, float64) { return median, 1000 },
		"lognormal:1000,0.5":     func(mean, _ float64) (float64, float64) { return mean, 1000 * math.Exp(0.125) },
		"bimodal:100,10000,10%":  func(mean, _ float64) (float64, float64) { return mean, 1090 },
		"exp:1000,900-1100":      func(_, median float64) (float64, float64) { return median, 900 },
		"lognormal:1000,3,5-800": func(_, median float64) (float64, float64) { return median, 800 },
	} {
		s, err := ParseSizes(text)
		if err != nil {
			t.Fatal(err)
		}
		all := make([]int, n)
		sum := 0.0
		for i := range all {
			all[i] = s.draw(1, uint64(i))
			sum += float64(all[i])
		}
		slices.Sort(all)
		if all[0] < s.Min || all[n-1] > s.Max {
			t.Errorf("%s: %d to %d bytes", text, all[0], all[n-1])
		}
		if got, want := check(sum/n, float64(all[n/2])); math.Abs(got-want) > 0.01*want {
			t.Errorf("%s: %.1f, want %.1f", text, got, want)
		}
	}
}

func TestSizesOfAFile(t *testing.T) {
	name := file(t, "# bytes", "100", "", "1KiB,more", "100", "5")
	s, err := ParseSizes("file:" + name)
	if err != nil || s.Min != 5 || s.Max != 1024 || s.String() != "file:"+name {
		t.Fatalf("%v, %v", s, err)
	}
	count := map[int]int{}
	for i := range uint64(40_000) {
		count[s.draw(1, i)]++
	}
	if len(count) != 3 || math.Abs(float64(count[100])-20_000) > 500 || math.Abs(float64(count[5])-10_000) > 500 {
		t.Errorf("%v", count)
	}
	b, err := json.Marshal(s)
	var back Sizes
	if err != nil || json.Unmarshal(b, &back) != nil || back.Values == nil || back.Values.Name != name {
		t.Errorf("%s, %v, %+v", b, err, back)
	}
	if _, err := ParseSizes("file:" + file(t, "size", "10", "ten")); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("%v, want the line", err)
	}
	if _, err := ParseSizes("file:" + file(t, "size")); err == nil {
		t.Error("a file without values")
	}
}
