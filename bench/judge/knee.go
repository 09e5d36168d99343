package judge

import "math"

// Bend is the form of a curve.
type Bend uint8

const (
	Convex  Bend = iota // rises ever faster, as latency does with the rate
	Concave             // rises ever slower, as throughput does with what is in flight
)

// Knee returns the index of the point where a rising curve bends most, and false if it
// does nowhere: at less than three points, for values that are not numbers, or on a curve
// that is straight or bends the other way. x must increase.
//
// The method is Kneedle, for curves that are given as a whole and without its smoothing
// (Satopää, Albrecht, Irwin, Raghavan, Finding a "Kneedle" in a Haystack, ICDCSW 2011):
// both axes are scaled to 0 to 1, and a knee is a local maximum of the distance from the
// diagonal, after which the distance falls by the mean step of x (sensitivity 1) before
// it has another. Of several the one with the greatest distance is returned. Where it is
// depends on where the curve ends: the further it goes beyond a bend, the nearer the knee
// is to that.
func Knee(x, y []float64, bend Bend) (i int, ok bool) {
	n := len(x)
	if n < 3 || len(y) != n {
		return 0, false
	}
	lowY, highY := y[0], y[0]
	for i := range x {
		if math.IsNaN(x[i]-x[i]) || math.IsNaN(y[i]-y[i]) || i > 0 && !(x[i] > x[i-1]) {
			return 0, false
		}
		lowY, highY = min(lowY, y[i]), max(highY, y[i])
	}
	if highY == lowY {
		return 0, false
	}
	// A convex curve is a concave one that is turned around by half a turn.
	at := func(k int) int { return k }
	sign := 1.0
	if bend == Convex {
		at = func(k int) int { return n - 1 - k }
		sign = -1
	}
	distance := make([]float64, n) // in the order of the concave curve
	for k := range distance {
		i := at(k)
		distance[k] = sign * ((y[i]-lowY)/(highY-lowY) - (x[i]-x[0])/(x[n-1]-x[0]))
	}
	fall := 1 / float64(n-1) // the mean step of x, scaled
	best := -1
	for k := 1; k < n-1; k++ {
		if distance[k] <= 0 || distance[k] < distance[k-1] || distance[k] <= distance[k+1] || best >= 0 && distance[k] <= distance[best] {
			continue
		}
		for j := k + 1; j < n; j++ {
			if distance[j] < distance[k]-fall {
				best = k
				break
			}
			if j < n-1 && distance[j] > distance[j-1] && distance[j] >= distance[j+1] {
				break // another maximum
			}
		}
	}
	if best < 0 {
		return 0, false
	}
	return at(best), true
}
