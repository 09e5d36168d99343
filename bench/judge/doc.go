// Package judge draws conclusions from runs of a load generator: the highest rate that
// meets a target of latency ([Search]), where a curve bends ([Knee]), and whether two
// configurations differ ([Compare]). The unit of all of them is one run: its thousands
// of messages share a machine, a moment and a queue and say little about the next run.
//
//	           rate                    outcomes
//	Search ───────────> Trial: one run ───────────> Result: rate, interval
//
// It runs nothing itself and has no clock. What a [Trial] measures may be a server or a
// queue that is computed:
//
//	res, err := judge.Search(ctx, judge.Options{Start: 1000}, func(ctx context.Context, rate float64, n int) (judge.Outcome, error) {
//		p99 := measure(ctx, rate)
//		if p99 > 500*time.Microsecond {
//			return judge.Outcome{Finding: judge.Missed, Why: fmt.Sprintf("p99 %v", p99)}, nil
//		}
//		return judge.Outcome{Finding: judge.Held}, nil
//	})
//
// Nothing here assumes a shape of the distribution of the figures, only that runs are
// independent of each other.
package judge
