package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kcm-go/kcm/sgmsg"
)

// Service is a distribution of service times: how long a server is to work on a
// message before it answers. The zero Service is no work, and messages say nothing
// of it.
//
// The time of a message follows from the seed and the message's number alone, so
// nothing is stored, and every run and simulation of a Workload has the same ones.
type Service struct {
	Shape ServiceShape
	// Time is every message's time, the quick ones', or the mean: whole microseconds,
	// 1 us to MaxService. What is drawn from an exponential distribution is rounded to
	// microseconds, 0 included, so that the mean stays what it is.
	Time time.Duration
	// Slow is the time of Percent of the messages, Bimodal only, or the longest, Uniform
	// only.
	Slow    time.Duration
	Percent float64
	// Sigma is the standard deviation of the logarithm, LogNormal only: Time is the
	// median. Values are microseconds, each as likely as the others, FromFile only.
	Sigma  float64
	Values *Values
}

// ServiceShape is the form of a distribution.
type ServiceShape uint8

const (
	Constant    ServiceShape = iota // all alike
	Bimodal                         // some take longer, each independently
	Exponential                     // memoryless
	LogNormal                       // a long tail, as measured times often have
	FromFile                        // those of a file
	Uniform                         // Time to Slow, all equally likely
)

// MaxService is the longest time a Service may be given.
const MaxService = time.Minute

const wantService = "want TIME, TIME-TIME, bimodal:TIME,TIME,PERCENT%, exp:TIME, lognormal:TIME,SIGMA or file:NAME, such as 10us, bimodal:10us,2ms,1%, exp:10us or lognormal:10us,1"

// ParseService reads TIME, TIME-TIME (all between equally likely), bimodal:TIME,TIME,PERCENT% (the latter share of the
// messages takes the second, longer time), exp:TIME (the mean), lognormal:TIME,SIGMA (the
// median, and the standard deviation of the logarithm) or file:NAME, a file with a time
// on each line. 0 is the zero Service.
func ParseService(text string) (Service, error) {
	shape, rest, named := strings.Cut(text, ":")
	if !named {
		shape, rest = "", text
	}
	times := strings.Split(rest, ",")
	s := Service{}
	switch {
	case shape == "" && !named && len(times) == 1:
		low, high, ranged := strings.Cut(text, "-")
		if !ranged || low == "" {
			break
		}
		slow, err := time.ParseDuration(high)
		if err != nil {
			return Service{}, errors.New(wantService)
		}
		s.Shape, s.Slow, times[0] = Uniform, slow, low
	case shape == "file" && rest != "":
		var err error
		if s.Values, err = readValues(rest, parseMicros); err != nil {
			return Service{}, err
		}
		s.Shape = FromFile
		return s, nil
	case shape == "lognormal" && len(times) == 2:
		sigma, err := strconv.ParseFloat(times[1], 64)
		if err != nil {
			return Service{}, errors.New(wantService)
		}
		s.Shape, s.Sigma = LogNormal, sigma
	case shape == "exp" && len(times) == 1:
		s.Shape = Exponential
	case shape == "bimodal" && len(times) == 3:
		s.Shape = Bimodal
		slow, err1 := time.ParseDuration(times[1])
		digits, ok := strings.CutSuffix(times[2], "%")
		percent, err2 := strconv.ParseFloat(digits, 64)
		if err1 != nil || err2 != nil || !ok {
			return Service{}, errors.New(wantService)
		}
		s.Slow, s.Percent = slow, percent
	default:
		return Service{}, errors.New(wantService)
	}
	var err error
	if s.Time, err = time.ParseDuration(times[0]); err != nil {
		return Service{}, errors.New(wantService)
	}
	if why := s.problem(); why != "" {
		return Service{}, fmt.Errorf("want %s", why)
	}
	return s, nil
}

// parseMicros reads a time of service of a file.
func parseMicros(text string) (int64, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > MaxService || d%time.Microsecond != 0 {
		return 0, fmt.Errorf("want whole microseconds, such as 10us, at most %v", MaxService)
	}
	return int64(d / time.Microsecond), nil
}

// String is what ParseService reads.
func (s Service) String() string {
	switch s.Shape {
	case LogNormal:
		return fmt.Sprintf("lognormal:%s,%s", timeText(s.Time), strconv.FormatFloat(s.Sigma, 'g', -1, 64))
	case FromFile:
		return "file:" + s.Values.Name
	case Uniform:
		return timeText(s.Time) + "-" + timeText(s.Slow)
	case Bimodal:
		return fmt.Sprintf("bimodal:%s,%s,%s%%", timeText(s.Time), timeText(s.Slow), strconv.FormatFloat(s.Percent, 'g', -1, 64))
	case Exponential:
		return "exp:" + timeText(s.Time)
	}
	return timeText(s.Time)
}

// timeText is d in ASCII; 0 without a unit.
func timeText(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	return strings.Replace(d.String(), "µ", "u", 1)
}

// None reports whether messages carry no work.
func (s Service) None() bool { return s == Service{} }

// problem says what would be right, "" if all is.
func (s Service) problem() string {
	fits := func(d time.Duration) bool {
		return d >= time.Microsecond && d <= MaxService && d%time.Microsecond == 0
	}
	switch {
	case s.None():
	case s.Shape > Uniform || s.Shape == FromFile && s.Values == nil:
		return "a shape there is"
	case s.Shape == FromFile:
	case s.Shape == LogNormal && !(s.Sigma > 0 && s.Sigma <= maxSigma):
		return fmt.Sprintf("a sigma of more than 0, at most %d", maxSigma)
	case !fits(s.Time) || (s.Shape == Bimodal || s.Shape == Uniform) && !fits(s.Slow):
		return "whole microseconds, 1us to " + MaxService.String()
	case (s.Shape == Bimodal || s.Shape == Uniform) && s.Slow <= s.Time:
		return "the longer time second"
	case s.Shape == Bimodal && !(s.Percent > 0 && s.Percent < 100):
		return "more than 0% and less than 100%"
	}
	return ""
}

// Class is messages of one kind.
type Class struct {
	Name  string        // a time, or the distribution
	Time  time.Duration // of service, or its mean
	Share float64       // of all messages, 0 to 1
}

// Classes returns the kinds of messages: of a bimodal distribution the quick and the
// slow, each named by its time; of others one, with the distribution's name.
func (s Service) Classes() []Class {
	if s.Shape != Bimodal {
		return []Class{{s.className(), s.mean(), 1}}
	}
	slow := s.Percent / 100
	return []Class{{timeText(s.Time), s.Time, 1 - slow}, {timeText(s.Slow), s.Slow, slow}}
}

// className is the String without what a line of a trace cannot have.
func (s Service) className() string { return noCSV.Replace(s.String()) }

var noCSV = strings.NewReplacer(",", " ", `"`, "'")

// mean returns the mean time. What MaxService cuts off is in it.
func (s Service) mean() time.Duration {
	switch s.Shape {
	case Bimodal:
		return s.Time + time.Duration(s.Percent/100*float64(s.Slow-s.Time))
	case LogNormal:
		return time.Duration(min(float64(s.Time)*math.Exp(s.Sigma*s.Sigma/2), math.MaxInt64/2))
	case Uniform:
		return (s.Time + s.Slow) / 2
	case FromFile:
		sum := 0.0
		for _, us := range s.Values.List {
			sum += float64(us)
		}
		return time.Duration(sum / float64(len(s.Values.List)) * 1e3)
	}
	return s.Time
}

// serviceSalt makes service times independent of what else the seed determines.
const serviceSalt = 0x73657276696365

// draw returns the service time of a message, and its class.
func (s Service) draw(seed, number uint64) (d time.Duration, class int) {
	if s.Shape == Constant {
		return s.Time, 0
	}
	bits := mix(number ^ mix(seed^serviceSalt))
	u := uniform(bits)
	ns := 0.0
	switch s.Shape {
	case Bimodal:
		if u*100 < s.Percent {
			return s.Slow, 1
		}
		return s.Time, 0
	case Uniform:
		span := uint64((s.Slow-s.Time)/time.Microsecond) + 1
		return s.Time + time.Duration(bits%span)*time.Microsecond, 0
	case FromFile:
		return time.Duration(s.Values.pick(bits)) * time.Microsecond, 0
	case LogNormal:
		ns = min(logNormalQuantile(u, float64(s.Time), s.Sigma), float64(MaxService))
	default:
		ns = expQuantile(u, float64(s.Time))
	}
	// The other 11 bits round: up as often as the fraction says.
	up := (float64(bits&(1<<11-1)) + 0.5) / (1 << 11)
	us := math.Floor(ns/1e3 + up)
	return time.Duration(us) * time.Microsecond, 0
}

// Mode is how a server passes the service time.
type Mode uint8

const (
	ModeAuto  Mode = iota // spin below AutoSleep, sleep from there on
	ModeSpin              // computing
	ModeSleep             // waiting, as for a database
)

// AutoSleep is the service time from which on ModeAuto sleeps: shorter sleeps would
// be mostly the timer's inaccuracy.
const AutoSleep = 100 * time.Microsecond

var modes = [...]string{"auto", "spin", "sleep"}

func (m Mode) String() string {
	if m > ModeSleep {
		return "mode " + strconv.Itoa(int(m))
	}
	return modes[m]
}

// ParseMode is the inverse of String.
func ParseMode(s string) (Mode, error) {
	for m := ModeAuto; m <= ModeSleep; m++ {
		if s == m.String() {
			return m, nil
		}
	}
	return 0, fmt.Errorf("want auto, spin or sleep")
}

func (m Mode) sleeps(d time.Duration) bool {
	return m == ModeSleep || m == ModeAuto && d >= AutoSleep
}

// The work a message carries is its payload's first bytes:
//
//	| service time in microseconds, 4, big endian | 1: 0 spin, 1 sleep |
const workBytes = 5

func putWork(b []byte, d time.Duration, sleep bool) {
	binary.BigEndian.PutUint32(b, uint32(d/time.Microsecond))
	b[4] = 0
	if sleep {
		b[4] = 1
	}
}

// workOf reads the work a message carries behind its header; ok is false for one too
// short to carry any.
func workOf(msg *sgmsg.Message, header int) (d time.Duration, sleep, ok bool) {
	var b [workBytes]byte
	if msg.CopyTo(b[:], header) < workBytes {
		return 0, false, false
	}
	d = time.Duration(binary.BigEndian.Uint32(b[:])) * time.Microsecond
	return min(d, MaxService), b[4] == 1, true
}
