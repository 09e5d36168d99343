package judge

import (
	"math"
	"testing"
)

// curve samples f at n points from a to b.
func curve(f func(float64) float64, a, b float64, n int) (x, y []float64) {
	for i := range n {
		at := a + (b-a)*float64(i)/float64(n-1)
		x, y = append(x, at), append(y, f(at))
	}
	return x, y
}

// The distance from the diagonal is greatest where the slope is that of the line from
// end to end.
func TestKnee(t *testing.T) {
	hyperbola := func(x float64) float64 { return 1 / (1 - x) } // as the p99 of M/M/1
	for _, c := range []struct {
		what    string
		f       func(float64) float64
		a, b    float64
		bend    Bend
		want    float64
		nowhere bool
	}{
		// The example of the paper, section 4: the knee is at 0.22.
		{what: "paper", f: func(x float64) float64 { return -1/(x+0.1) + 5 }, a: 0, b: 1, bend: Concave, want: math.Sqrt(0.1*1.1) - 0.1},
		{what: "latency", f: hyperbola, a: 0.1, b: 0.95, bend: Convex, want: 1 - math.Sqrt(0.9*0.05)},
		{what: "further", f: hyperbola, a: 0.1, b: 0.99, bend: Convex, want: 1 - math.Sqrt(0.9*0.01)},
		{what: "overload", f: func(x float64) float64 { return 1 + 1000*max(0, x-0.7) }, a: 0, b: 1, bend: Convex, want: 0.7},
		{what: "throughput", f: func(x float64) float64 { return min(x, 3) }, a: 0, b: 10, bend: Concave, want: 3},
		{what: "straight", f: func(x float64) float64 { return 2*x + 1 }, a: 0, b: 1, nowhere: true},
		{what: "flat", f: func(float64) float64 { return 4 }, a: 0, b: 1, nowhere: true},
		{what: "the other way", f: math.Sqrt, a: 0, b: 1, bend: Convex, nowhere: true},
		{what: "no number", f: math.Log, a: -1, b: 1, nowhere: true},
		{what: "not finite", f: func(x float64) float64 { return 1 / (1 - x) }, a: 0, b: 1, nowhere: true},
	} {
		for _, n := range []int{11, 41, 201} {
			x, y := curve(c.f, c.a, c.b, n)
			i, ok := Knee(x, y, c.bend)
			if ok == c.nowhere {
				t.Errorf("%s, %d points: %d, %v", c.what, n, i, ok)
			} else if step := x[1] - x[0]; ok && math.Abs(x[i]-c.want) > step {
				t.Errorf("%s, %d points: knee at %.3f, want %.3f", c.what, n, x[i], c.want)
			}
		}
	}
	for _, c := range [][2][]float64{
		{nil, nil}, {{1, 2}, {1, 2}}, {{1, 2, 3}, {1, 2}}, {{1, 1, 2}, {1, 2, 9}}, {{3, 2, 1}, {1, 2, 9}},
	} {
		if i, ok := Knee(c[0], c[1], Convex); ok {
			t.Errorf("%v: %d", c, i)
		}
	}
}
