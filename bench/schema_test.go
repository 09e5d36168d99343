package bench

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// schema is a JSON Schema, of which it knows what docs/kcmbench-schema.json uses. It is
// stricter in one point: an object that lists properties may have no others, so that
// each key that is written is documented.
type schema struct {
	root map[string]any
}

var known2020 = []string{"$schema", "$id", "$defs", "$ref", "title", "description", "type", "properties", "required",
	"additionalProperties", "items", "minimum", "maximum", "const", "pattern"}

// problems lists what is wrong with a value.
func (s *schema) problems(rule map[string]any, v any, at string) (all []string) {
	bad := func(format string, args ...any) { all = append(all, at+": "+fmt.Sprintf(format, args...)) }
	for k := range rule {
		if !slices.Contains(known2020, k) {
			bad("the schema says %s, which this test does not know", k)
		}
	}
	if ref, ok := rule["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/$defs/")
		def, ok := s.root["$defs"].(map[string]any)[name].(map[string]any)
		if !ok {
			bad("no definition %s", ref)
		}
		all = append(all, s.problems(def, v, at)...)
	}
	if t, ok := rule["type"]; ok {
		types, several := t.([]any)
		if !several {
			types = []any{t}
		}
		if !slices.ContainsFunc(types, func(t any) bool { return is(t, v) }) {
			bad("%v is no %v", v, t)
			return all
		}
	}
	if c, ok := rule["const"]; ok && c != v {
		bad("%v, want %v", v, c)
	}
	switch v := v.(type) {
	case float64:
		if low, ok := rule["minimum"].(float64); ok && v < low {
			bad("%v, want %v or more", v, low)
		}
		if high, ok := rule["maximum"].(float64); ok && v > high {
			bad("%v, want %v or less", v, high)
		}
	case string:
		if p, ok := rule["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(v) {
			bad("%.40q does not match %s", v, p)
		}
	case []any:
		for i, item := range v {
			if items, ok := rule["items"].(map[string]any); ok {
				all = append(all, s.problems(items, item, fmt.Sprintf("%s[%d]", at, i))...)
			}
		}
	case map[string]any:
		all = append(all, s.object(rule, v, at)...)
	}
	return all
}

func (s *schema) object(rule map[string]any, v map[string]any, at string) (all []string) {
	required, _ := rule["required"].([]any)
	for _, k := range required {
		if _, ok := v[k.(string)]; !ok {
			all = append(all, fmt.Sprintf("%s: no %s", at, k))
		}
	}
	properties, listed := rule["properties"].(map[string]any)
	others, _ := rule["additionalProperties"].(map[string]any)
	for _, k := range slices.Sorted(maps.Keys(v)) {
		switch sub, ok := properties[k].(map[string]any); {
		case ok:
			all = append(all, s.problems(sub, v[k], at+"."+k)...)
		case others != nil:
			all = append(all, s.problems(others, v[k], at+"."+k)...)
		case listed:
			all = append(all, fmt.Sprintf("%s.%s: not in docs/kcmbench-schema.json", at, k))
		}
	}
	return all
}

func is(t, v any) bool {
	switch v := v.(type) {
	case bool:
		return t == "boolean"
	case float64:
		return t == "number" || t == "integer" && v == math.Trunc(v)
	case string:
		return t == "string"
	case []any:
		return t == "array"
	case map[string]any:
		return t == "object"
	}
	return false
}

func readSchema(t *testing.T) *schema {
	t.Helper()
	b, err := os.ReadFile("../docs/kcmbench-schema.json")
	if err != nil {
		t.Fatal(err)
	}
	s := new(schema)
	if err := json.Unmarshal(b, &s.root); err != nil {
		t.Fatal(err)
	}
	return s
}

func asJSON(t *testing.T, v any) (out any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestReportsFollowTheSchema validates reports of runs of each kind, and lines of a
// series.
func TestReportsFollowTheSchema(t *testing.T) {
	s := readSchema(t)
	for name, change := range map[string]func(*Config){
		"closed loop": func(*Config) {},
		"think time":  func(c *Config) { c.Think, c.Batch = Service{Time: time.Millisecond}, 2 },
		"kinds, profile, churn": func(c *Config) {
			c.Rate, c.Profile, c.Churn = 2000, Profile{Shape: Ramp, From: 1000}, Churn{Messages: 5}
			c.Kinds = mixed(t, "a 50% size=13-99", "b 50% service=1us")
		},
		"replay": func(c *Config) { c.Replay = &Values{Name: "file", List: []int64{1e6, 2e6, 9e6}} },
		"open loop, classes, workers": func(c *Config) {
			c.Rate, c.Arrival, c.Interval = 2000, Poisson, 10*time.Millisecond
			c.Service, c.Unordered = mustService(t, "bimodal:5us,50us,10%"), true
			c.Server.Workers, c.Server.Dispatch = 2, Idle
			c.Size = Sizes{Min: 64, Max: 256}
		},
	} {
		c := short("")
		change(&c)
		rep, err := enough(t, c, 0)
		if err != nil {
			t.Fatal(err)
		}
		rep.Failure = "a failure"
		for _, p := range s.problems(s.root, asJSON(t, rep), name) {
			t.Error(p)
		}
		for _, point := range rep.Series {
			interval := s.root["$defs"].(map[string]any)["interval"].(map[string]any)
			for _, p := range s.problems(interval, asJSON(t, point), name) {
				t.Error(p)
			}
		}
	}
}

// TestSchemaFindsFaults spoils a report.
func TestSchemaFindsFaults(t *testing.T) {
	s := readSchema(t)
	rep, err := enough(t, short(""), 0)
	if err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(map[string]any){
		"r: no errors":         func(m map[string]any) { delete(m, "errors") },
		"r.schema: 2, want 1":  func(m map[string]any) { m["schema"] = 2.0 },
		"r.lost: -1":           func(m map[string]any) { m["lost"] = -1.0 },
		"r.conns: 1.5 is no":   func(m map[string]any) { m["conns"] = 1.5 },
		"r.extra: not in":      func(m map[string]any) { m["extra"] = "" },
		"r.env.go: true is no": func(m map[string]any) { m["env"].(map[string]any)["go"] = true },
		"r.histograms.latency.v2": func(m map[string]any) {
			m["histograms"].(map[string]any)["latency"].(map[string]any)["v2"] = "x"
		},
	} {
		m := asJSON(t, rep).(map[string]any)
		spoil(m)
		got := s.problems(s.root, m, "r")
		if len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
