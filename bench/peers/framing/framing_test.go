package framing

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Every contestant finds the same messages, however the stream is cut.
func TestContestants(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, e := range Entries {
		for _, size := range []int{5, 64, 65, 0, 1000, 40_000} {
			for k, cut := range []func() int{
				Whole,
				func() int { return 1 + rng.IntN(20) },
				func() int { return 1 + rng.IntN(ChunkSize) },
				func() int { return 5000 + rng.IntN(1000) },
			} {
				count := 3000 / (1 + size/100)
				if k == 1 {
					count = min(count, 2000/max(64, size)+2)
				}
				s := NewStage(count, size, cut)
				for _, read := range []bool{false, true} {
					if !read && !e.Given {
						continue
					}
					if _, err := s.Run(e, read, 2); err != nil {
						t.Errorf("%d bytes, cut %d, read %v: %v", size, k, read, err)
					}
				}
			}
		}
	}
}

// A contestant that loses or changes something is found out.
func TestRunNoticesWhatIsMissing(t *testing.T) {
	s := NewStage(2000, 64, Whole)
	s.Tally.Sum++
	if _, err := s.Run(Entries[0], true, 1); err == nil {
		t.Error("a wrong sum went unnoticed")
	}
}

// The rows of a comparison are those that took part, ours is the measure.
func TestCompare(t *testing.T) {
	for read, want := range map[bool]int{false: 5, true: 7} {
		rows, err := Compare(1024, read, 2, time.Millisecond)
		if err != nil || len(rows) != want {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		var out strings.Builder
		if err := Write(&out, "title", rows); err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.Nanos <= 0 || r.Lo > r.Ratio || r.Hi < r.Ratio || r.Name == reference && r.Ratio != 1 || !strings.Contains(out.String(), "| "+r.Name+" |") {
				t.Errorf("%+v in %s", r, out.String())
			}
		}
	}
}

func BenchmarkFraming(b *testing.B) {
	for _, size := range []int{64, 0, 1024} {
		s := NewStage(1<<20/max(64, size), size, Whole)
		for _, read := range []bool{false, true} {
			for _, e := range Entries {
				if !read && !e.Given {
					continue
				}
				arrives := map[bool]string{false: "given", true: "read"}[read]
				b.Run(fmt.Sprintf("%d/%s/%s", size, arrives, e.Name), func(b *testing.B) {
					b.ReportAllocs()
					b.SetBytes(1 << 20)
					var t Tally
					c := e.New(&t, s.Mem)
					defer c.Close()
					for b.Loop() {
						if err := s.play(c, read, 1); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(t.Messages), "ns/message")
				})
			}
		}
	}
}
