package affinity

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestParseCPUSet(t *testing.T) {
	for _, tt := range []struct {
		list string
		want []int
		text string // canonical form
	}{
		{"", nil, ""},
		{"\n", nil, ""},
		{"0", []int{0}, "0"},
		{"0\n", []int{0}, "0"},
		{"0-3,8\n", []int{0, 1, 2, 3, 8}, "0-3,8"},
		{"8,3,2,1,0", []int{0, 1, 2, 3, 8}, "0-3,8"},
		{"0-2,1-4,4", []int{0, 1, 2, 3, 4}, "0-4"},
		{"5-5", []int{5}, "5"},
		{"0,2,4", []int{0, 2, 4}, "0,2,4"},
		{"0,1", []int{0, 1}, "0-1"},
		{"62-65", []int{62, 63, 64, 65}, "62-65"},
		{"007", []int{7}, "7"},
		{"0,8191", []int{0, 8191}, "0,8191"},
	} {
		got, err := ParseCPUSet(tt.list)
		if err != nil {
			t.Errorf("ParseCPUSet(%q): %v", tt.list, err)
			continue
		}
		if cpus := slices.Collect(got.All()); !slices.Equal(cpus, tt.want) {
			t.Errorf("ParseCPUSet(%q) = %v, want %v", tt.list, cpus, tt.want)
		}
		if got.String() != tt.text {
			t.Errorf("ParseCPUSet(%q).String() = %q, want %q", tt.list, got, tt.text)
		}
		if got != NewCPUSet(tt.want...) || got.Count() != len(tt.want) || got.Empty() != (len(tt.want) == 0) {
			t.Errorf("ParseCPUSet(%q): value, Count or Empty disagrees with %v", tt.list, tt.want)
		}
	}
}

func TestParseCPUSetRefuses(t *testing.T) {
	for _, list := range []string{
		"a", "-", "-1", "1-", "3-1", "1--2", "+1", "1,,2", ",", "1, 2", "0x1", "1_0", "0-3:1/2",
		"8192", "0-8192", "4294967296", "99999999999999999999",
	} {
		got, err := ParseCPUSet(list)
		if err == nil || !got.Empty() {
			t.Errorf("ParseCPUSet(%q) = %q, %v; want an error and no CPU", list, got, err)
		}
	}
	_, err := ParseCPUSet("0,x1")
	if want := `parse CPU list: "x1": invalid syntax`; err.Error() != want || !errors.Is(err, strconv.ErrSyntax) {
		t.Errorf("error %q, want %q matching strconv.ErrSyntax", err, want)
	}
}

func TestCPUSetOperations(t *testing.T) {
	a, b := NewCPUSet(0, 1, 64, 100), NewCPUSet(1, 2, 100, 8191)
	if got := a.And(b); got != NewCPUSet(1, 100) {
		t.Errorf("%q and %q = %q", a, b, got)
	}
	if a != NewCPUSet(0, 1, 64, 100) {
		t.Errorf("And changed its receiver to %q", a)
	}
	if a.First() != 0 || b.First() != 1 || (CPUSet{}).First() != NoCPU {
		t.Errorf("First = %d, %d, %d", a.First(), b.First(), (CPUSet{}).First())
	}
	for _, cpu := range []int{-1, 2, 63, MaxCPU, math.MaxInt} {
		if a.Has(cpu) {
			t.Errorf("%q has %d", a, cpu)
		}
	}
	for cpu := range a.All() {
		if cpu == 64 {
			break // leaving early must not upset the iterator
		}
	}
	for _, cpu := range []int{-1, MaxCPU} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Add(%d) did not panic", cpu)
				}
			}()
			a.Add(cpu)
		}()
	}
}

func TestCPUSetJSON(t *testing.T) {
	want := NewCPUSet(0, 1, 2, 9)
	text, err := json.Marshal(want)
	if err != nil || string(text) != `"0-2,9"` {
		t.Fatalf("json.Marshal = %s, %v", text, err)
	}
	var got CPUSet
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Fatalf("json.Unmarshal = %q, %v", got, err)
	}
	if err := json.Unmarshal([]byte(`"2-1"`), &got); err == nil || got != want {
		t.Fatalf("a bad list: %v, set %q; want an error and the set unchanged", err, got)
	}
}

// FuzzParseCPUSet checks what parses against a naive rendering: every CPU alone,
// in descending order, must parse to the same set, and so must String.
func FuzzParseCPUSet(f *testing.F) {
	for _, seed := range []string{"", "0", "0-3,8\n", "3-1", "63-64", "0-8191", "8192", "1,,2", "-", "٣"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		set, err := ParseCPUSet(list)
		if err != nil {
			if !set.Empty() {
				t.Fatalf("%q: error %v, and CPUs %q", list, err, set)
			}
			return
		}
		var singly []string
		for cpu := range set.All() {
			if !set.Has(cpu) {
				t.Fatalf("%q: All yields %d, Has denies it", list, cpu)
			}
			singly = append(singly, strconv.Itoa(cpu))
		}
		if len(singly) != set.Count() {
			t.Fatalf("%q: %d CPUs, Count %d", list, len(singly), set.Count())
		}
		slices.Reverse(singly)
		for _, text := range []string{set.String(), strings.Join(singly, ",")} {
			if again, err := ParseCPUSet(text); err != nil || again != set {
				t.Fatalf("%q -> %q -> %q, %v", list, text, again, err)
			}
		}
		if len(set.String()) > len(strings.Join(singly, ",")) {
			t.Fatalf("%q: %q is longer than naming every CPU", list, set)
		}
	})
}
