package muxvar

import (
	"encoding/json"
	"expvar"
	"sync"
	"time"

	"github.com/kcm-go/kcm/mux"
)

// patience is how long a reader of the variable waits for the loops.
const patience = time.Second

// Publish makes m's counters the expvar variable name. A name that Publish was given
// before has the new Mux from now on, or the value null when m is nil; so a Mux that is
// made again has its old name. As in expvar, a name that somebody else has published is a
// mistake that ends the program with a panic. m is kept until it is replaced; after its
// end the variable has the last figures. Safe for concurrent use.
func Publish(name string, m *mux.Mux) {
	var s *mux.Sampler
	if m != nil {
		s = mux.NewSampler(m)
	}
	publishing.Lock()
	defer publishing.Unlock()
	v, ours := expvar.Get(name).(*variable)
	if !ours {
		v = new(variable)
	}
	v.set(s)
	if !ours {
		expvar.Publish(name, v)
	}
}

var publishing sync.Mutex

// variable implements expvar.Var.
type variable struct {
	mu      sync.Mutex
	sampler *mux.Sampler
}

func (v *variable) set(s *mux.Sampler) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sampler = s
}

// value is the form of the variable.
type value struct {
	Fresh bool
	Mux   mux.Stats
	Loops []mux.LoopSample
}

// String implements expvar.Var.
func (v *variable) String() string {
	v.mu.Lock()
	s := v.sampler
	v.mu.Unlock()
	if s == nil {
		return "null"
	}
	x, fresh := s.Sample(patience)
	b, err := json.Marshal(value{Fresh: fresh, Mux: x.Stats, Loops: x.Loops})
	if err != nil { // numbers, strings and structures of these only
		panic(err)
	}
	return string(b)
}
