package bench

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Kind is one of the kinds of messages of a [Workload] that has several. Each message
// is of a kind by itself, as its number and the seed have it.
type Kind struct {
	Name    string
	Percent float64 // of the messages
	Size    Sizes
	Service Service
}

// MaxKinds is the most kinds a Workload may have.
const MaxKinds = maxTraceClasses

// ParseKind reads "NAME PERCENT% [size=SIZES] [service=TIMES]", with what ParseSizes and
// ParseService read. What is missing is that of like.
func ParseKind(text string, like Kind) (Kind, error) {
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return Kind{}, errors.New(wantKindText)
	}
	k := like
	k.Name = fields[0]
	digits, ok := strings.CutSuffix(fields[1], "%")
	var err error
	if k.Percent, err = strconv.ParseFloat(digits, 64); err != nil || !ok {
		return Kind{}, errors.New(wantKindText)
	}
	for _, f := range fields[2:] {
		name, value, _ := strings.Cut(f, "=")
		switch name {
		case "size":
			k.Size, err = ParseSizes(value)
		case "service":
			k.Service, err = ParseService(value)
		default:
			err = errors.New(wantKindText)
		}
		if err != nil {
			return Kind{}, err
		}
	}
	return k, nil
}

const wantKindText = `want "NAME PERCENT% [size=SIZES] [service=TIMES]"`

// String is what ParseKind reads.
func (k Kind) String() string {
	return fmt.Sprintf("%s %s%% size=%s service=%s", k.Name, strconv.FormatFloat(k.Percent, 'g', -1, 64), k.Size, k.Service)
}

// kinds draws of which kind a message is, and what follows.
type kinds struct {
	seed    uint64
	list    []Kind
	upTo    []float64 // of each kind: percent of the messages that are of it or one before
	classes []Class
	mixed   bool // the classes are the kinds, and not those of the one Service
	worked  bool // messages carry work
	fixed   int  // size of every message, -1 if there are several
}

// kindSalt makes kinds independent of what else the seed determines.
const kindSalt = 0x6b696e64

func newKinds(w *Workload) kinds {
	k := kinds{seed: w.Seed, list: w.Kinds, mixed: len(w.Kinds) > 0, worked: w.works(), fixed: -1}
	if b := w.bounds(); b.Min == b.Max {
		k.fixed = b.Min
	}
	if !k.mixed {
		k.list = []Kind{{Percent: 100, Size: w.Size, Service: w.Service}}
		k.classes = w.Service.Classes()
	}
	sum := 0.0
	for _, one := range k.list {
		sum += one.Percent
		k.upTo = append(k.upTo, sum)
		if k.mixed {
			k.classes = append(k.classes, Class{one.Name, one.Service.mean(), one.Percent / 100})
		}
	}
	return k
}

// of returns the kind of a message.
func (k *kinds) of(number uint64) int {
	if len(k.list) == 1 {
		return 0
	}
	at := 100 * uniform(mix(number^mix(k.seed^kindSalt)))
	for i, limit := range k.upTo {
		if at < limit {
			return i
		}
	}
	return len(k.list) - 1
}

// size returns the length of a message's payload.
func (k *kinds) size(number uint64) int {
	if k.fixed >= 0 {
		return k.fixed
	}
	return k.list[k.of(number)].Size.draw(k.seed, number)
}

// service returns the service time of a message, and its class.
func (k *kinds) service(number uint64) (d time.Duration, class int) {
	i := k.of(number)
	d, class = k.list[i].Service.draw(k.seed, number)
	if k.mixed {
		class = i
	}
	return d, class
}

// class returns the class of a message.
func (k *kinds) class(number uint64) int {
	switch {
	case len(k.classes) == 1:
		return 0
	case k.mixed:
		return k.of(number)
	}
	_, class := k.list[0].Service.draw(k.seed, number)
	return class
}

// named reports whether the classes are told of.
func (k *kinds) named() bool { return k.mixed || k.worked }

// sizeOf returns the sizes of the messages of a class.
func (k *kinds) sizeOf(class int) Sizes {
	if k.mixed {
		return k.list[class].Size
	}
	return k.list[0].Size
}

// bounds returns the shortest and the longest payload of any kind.
func (w *Workload) bounds() Sizes {
	if len(w.Kinds) == 0 {
		return Sizes{Min: w.Size.Min, Max: w.Size.Max}
	}
	b := Sizes{Min: w.Kinds[0].Size.Min}
	for _, k := range w.Kinds {
		b.Min, b.Max = min(b.Min, k.Size.Min), max(b.Max, k.Size.Max)
	}
	return b
}

// works reports whether messages carry work.
func (w *Workload) works() bool {
	for _, k := range w.Kinds {
		if !k.Service.None() {
			return true
		}
	}
	return len(w.Kinds) == 0 && !w.Service.None()
}

// checkKinds returns an *OptionError for the first kind that cannot be.
func (w *Workload) checkKinds() error {
	if len(w.Kinds) > MaxKinds {
		return &OptionError{"class", len(w.Kinds), fmt.Sprintf("at most %d", MaxKinds)}
	}
	sum, names := 0.0, map[string]bool{}
	for _, k := range w.Kinds {
		sum += k.Percent
		want := k.Service.problem()
		switch {
		case k.Name == "" || names[k.Name] || strings.ContainsAny(k.Name, "\", \t\r\n"):
			want = "a name of its own, without spaces, commas and quotes"
		case !(k.Percent > 0 && k.Percent <= 100):
			want = "a share of more than 0%, at most 100%"
		case want == "":
			want = k.Size.problem()
		}
		if want != "" {
			return &OptionError{"class", k, want}
		}
		names[k.Name] = true
	}
	if len(w.Kinds) > 0 && !(sum > 100-1e-6 && sum < 100+1e-6) {
		return &OptionError{"class", fmt.Sprintf("%g%%", sum), "100% of the messages in all"}
	}
	return nil
}
