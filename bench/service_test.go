package bench

import (
	"math"
	"testing"
	"time"
)

func TestParseService(t *testing.T) {
	const us = time.Microsecond
	for text, c := range map[string]struct {
		s    Service
		text string // as String has it
	}{
		"0":                          {Service{}, "0"},
		"0s":                         {Service{}, "0"},
		"10us":                       {Service{Time: 10 * us}, "10us"},
		"10µs":                       {Service{Time: 10 * us}, "10us"},
		"1.5ms":                      {Service{Time: 1500 * us}, "1.5ms"},
		"1m":                         {Service{Time: time.Minute}, "1m0s"},
		"exp:10us":                   {Service{Shape: Exponential, Time: 10 * us}, "exp:10us"},
		"bimodal:10us,2ms,1%":        {Service{Shape: Bimodal, Time: 10 * us, Slow: 2000 * us, Percent: 1}, "bimodal:10us,2ms,1%"},
		"10us-0.05ms":                {Service{Shape: Uniform, Time: 10 * us, Slow: 50 * us}, "10us-50us"},
		"lognormal:10us,0.5":         {Service{Shape: LogNormal, Time: 10 * us, Sigma: 0.5}, "lognormal:10us,0.5"},
		"bimodal:1us,0.002ms,12.50%": {Service{Shape: Bimodal, Time: us, Slow: 2 * us, Percent: 12.5}, "bimodal:1us,2us,12.5%"},
	} {
		s, err := ParseService(text)
		if err != nil || s != c.s || s.String() != c.text {
			t.Errorf("ParseService(%q) = %+v, %s, %v, want %+v, %s", text, s, s, err, c.s, c.text)
		}
		if again, err := ParseService(s.String()); err != nil || again != s {
			t.Errorf("%q does not come back: %+v, %v", s, again, err)
		}
		if s.None() != (text[0] == '0') {
			t.Errorf("%q: none %v", text, s.None())
		}
	}
	for _, text := range []string{"", ":", "10", "1ns", "1500ns", "-1us", "61s", ":10us", "fixed:10us", "10us,20us", "exp:", "exp:0",
		"exp:10us,5us", "exp:2m", "bimodal:10us", "bimodal:10us,2ms", "bimodal:10us,2ms,1", "bimodal:10us,2ms,0%",
		"bimodal:10us,2ms,100%", "bimodal:10us,2ms,NaN%", "bimodal:10us,2ms,x%", "bimodal:2ms,10us,1%", "bimodal:1us,1us,1%",
		"bimodal:0,2ms,1%", "bimodal:10us,2m,1%", "bimodal:10us,2ms,1%,1%"} {
		if s, err := ParseService(text); err == nil {
			t.Errorf("ParseService(%q) = %+v, want an error", text, s)
		}
	}
	for _, s := range []Service{{Shape: 3, Time: us}, {Time: -us}, {Slow: us, Shape: Bimodal, Percent: 1}, {Percent: 1}} {
		if s.problem() == "" {
			t.Errorf("%+v passes", s)
		}
	}
}

func TestModeAndWorkNames(t *testing.T) {
	for m, name := range map[Mode]string{ModeAuto: "auto", ModeSpin: "spin", ModeSleep: "sleep"} {
		if got, err := ParseMode(name); err != nil || got != m || m.String() != name {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := ParseMode("wait"); err == nil {
		t.Error("mode wait")
	}
	for w, name := range map[Work]string{WorkFixed: "fixed", WorkMessage: "message"} {
		if got, err := ParseWork(name); err != nil || got != w || w.String() != name {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := ParseWork("none"); err == nil {
		t.Error("work none")
	}
}

// The drawn times have the mean, the spread and the shares that were asked for, on
// few connections with many messages as on many with few.
func TestServiceTimesAreTheDistribution(t *testing.T) {
	const n = 400_000
	for _, text := range []string{"exp:10us", "exp:1us", "exp:2ms", "bimodal:10us,2ms,1%", "bimodal:5us,50us,40%", "7us"} {
		for _, conns := range []int{1, 1000} {
			s, err := ParseService(text)
			if err != nil {
				t.Fatal(err)
			}
			var sum, squares float64
			count := make([]int, 2)
			before, alike := time.Duration(-1), 0
			for k := range n {
				number := firstNumber(k%conns) + uint64(k/conns)
				d, class := s.draw(1, number)
				if d%time.Microsecond != 0 || d < 0 {
					t.Fatalf("%s: %v", text, d)
				}
				sum += float64(d)
				squares += float64(d) * float64(d)
				count[class]++
				if d == before {
					alike++
				}
				before = d
			}
			mean, sd := sum/n, math.Sqrt(squares/n-sum/n*sum/n)
			wantMean, wantSD := float64(s.Time), 0.0
			switch s.Shape {
			case Exponential:
				// Rounding to a or b microseconds adds (d-a)(b-d) of variance, 1/6 us^2 or less.
				wantSD = math.Sqrt(wantMean*wantMean + 1e6/6)
			case Bimodal:
				p := s.Percent / 100
				wantMean = (1-p)*float64(s.Time) + p*float64(s.Slow)
				wantSD = math.Sqrt(p*(1-p)) * float64(s.Slow-s.Time)
				if got := float64(count[1]) / n; math.Abs(got-p) > 5*math.Sqrt(p*(1-p)/n) {
					t.Errorf("%s: %v of the messages are slow", text, got)
				}
				// Independent of the message before.
				if got, want := float64(alike)/n, p*p+(1-p)*(1-p); math.Abs(got-want) > 0.005 {
					t.Errorf("%s: %v are like the one before, want %v", text, got, want)
				}
			}
			if math.Abs(mean-wantMean) > 5*wantSD/math.Sqrt(n) {
				t.Errorf("%s, %d connections: mean %.1f ns, want %.1f", text, conns, mean, wantMean)
			}
			if math.Abs(sd-wantSD) > 0.02*wantSD {
				t.Errorf("%s, %d connections: deviation %.1f ns, want %.1f", text, conns, sd, wantSD)
			}
		}
	}
}

func TestServiceTimesFollowFromSeedAndNumber(t *testing.T) {
	s := Service{Shape: Exponential, Time: time.Millisecond}
	same := 0
	for number := range uint64(1000) {
		a, _ := s.draw(1, number)
		b, _ := s.draw(1, number)
		c, _ := s.draw(2, number)
		if a != b {
			t.Fatalf("message %d takes %v and %v", number, a, b)
		}
		d, _ := s.draw(2, number^1^2) // nor may another seed be the same times, moved
		if a == c || a == d {
			same++
		}
	}
	if same > 20 {
		t.Errorf("two seeds have %d of 1000 times in common", same)
	}
}

func TestClasses(t *testing.T) {
	for text, want := range map[string][]Class{
		"0":                   {{"0", 0, 1}},
		"10us":                {{"10us", 10 * time.Microsecond, 1}},
		"lognormal:1ms,1":     {{"lognormal:1ms 1", 1648721 * time.Nanosecond, 1}},
		"exp:2ms":             {{"exp:2ms", 2 * time.Millisecond, 1}},
		"bimodal:10us,2ms,1%": {{"10us", 10 * time.Microsecond, 0.99}, {"2ms", 2 * time.Millisecond, 0.01}},
	} {
		s, err := ParseService(text)
		if err != nil {
			t.Fatal(err)
		}
		got := s.Classes()
		if len(got) != len(want) {
			t.Fatalf("%s: %+v", text, got)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: %+v, want %+v", text, got[i], want[i])
			}
		}
	}
}

func TestServiceTimesOfAFile(t *testing.T) {
	s, err := ParseService("file:" + file(t, "time", "10us", "10us", "1ms", "0"))
	if err != nil || s.mean() != 255*time.Microsecond {
		t.Fatalf("%v, %v", s, err)
	}
	count := map[time.Duration]int{}
	for k := range uint64(40_000) {
		d, class := s.draw(1, k)
		count[d]++
		if class != 0 {
			t.Fatalf("class %d", class)
		}
	}
	if len(count) != 3 || math.Abs(float64(count[10*time.Microsecond])-20_000) > 500 || math.Abs(float64(count[0])-10_000) > 500 {
		t.Errorf("%v", count)
	}
	for _, line := range []string{"1ns", "2m", "-1us", "soon"} {
		if s, err := ParseService("file:" + file(t, "0", line)); err == nil {
			t.Errorf("%s: %v, want an error", line, s)
		}
	}
}

func TestUniformServiceTimes(t *testing.T) {
	s := mustService(t, "10us-19us")
	count := map[time.Duration]int{}
	for k := range uint64(100_000) {
		d, _ := s.draw(1, k)
		count[d]++
	}
	if s.mean() != 14500*time.Nanosecond || len(count) != 10 {
		t.Errorf("mean %v, %v", s.mean(), count)
	}
	for d, n := range count {
		if d < 10*time.Microsecond || d > 19*time.Microsecond || math.Abs(float64(n)-10_000) > 400 {
			t.Errorf("%d messages of %v", n, d)
		}
	}
	for _, text := range []string{"10us-", "10us-10us", "20us-10us", "10us-1", "10us-2m"} {
		if s, err := ParseService(text); err == nil {
			t.Errorf("%s: %v, want an error", text, s)
		}
	}
}

// Median and mean of a log-normal distribution are those of the formula.
func TestLogNormalServiceTimes(t *testing.T) {
	s, err := ParseService("lognormal:100us,0.8")
	if err != nil {
		t.Fatal(err)
	}
	const n = 400_000
	sum, below := 0.0, 0
	for k := range uint64(n) {
		d, _ := s.draw(1, k)
		sum += float64(d)
		if d < 100*time.Microsecond {
			below++
		}
	}
	if want := 1e5 * math.Exp(0.32); math.Abs(sum/n-want) > 0.01*want || float64(s.mean()) < want-1 || math.Abs(float64(below)/n-0.5) > 0.01 {
		t.Errorf("mean %.0f and %v, want %.0f; %d of %d below the median", sum/n, s.mean(), want, below, n)
	}
}
