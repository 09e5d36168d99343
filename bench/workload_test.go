package bench

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int{"0": 0, "64": 64, "4KiB": 4096, "16MiB": 16 << 20, "1GiB": 1 << 30} {
		if got, err := ParseBytes(text); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "KiB", "-1", "1.5KiB", "64 KiB", "1KB", "99999999999999GiB", "9223372036854775808"} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("ParseBytes(%q) = %d, want an error", text, got)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]struct {
		s    Sizes
		json string
	}{
		"64":        {Sizes{Min: 64, Max: 64}, `64`},
		"0-64KiB":   {Sizes{Min: 0, Max: 65536}, `"0-65536"`},
		"5-5":       {Sizes{Min: 5, Max: 5}, `5`},
		"1KiB-1MiB": {Sizes{Min: 1024, Max: 1 << 20}, `"1024-1048576"`},
	} {
		s, err := ParseSizes(text)
		if err != nil || s != want.s {
			t.Errorf("ParseSizes(%q) = %v, %v, want %v", text, s, err, want.s)
		}
		if b, err := json.Marshal(s); err != nil || string(b) != want.json {
			t.Errorf("%q as JSON: %s, %v, want %s", text, b, err, want.json)
		}
	}
	for _, text := range []string{"", "-", "5-", "-5", "6-5", "1-2-3"} {
		if s, err := ParseSizes(text); err == nil {
			t.Errorf("ParseSizes(%q) = %v, want an error", text, s)
		}
	}
}

// good is a workload that Check accepts.
func good() Workload {
	return Workload{Conns: 1, Depth: 1, Size: Sizes{Min: 64, Max: 64}, Duration: time.Second}
}

func TestCheckNamesTheOption(t *testing.T) {
	w := good()
	if err := w.Check(); err != nil {
		t.Fatal(err)
	}
	w.Size, w.Service, w.Unordered = Sizes{Min: 13, Max: 64}, Service{Time: time.Millisecond}, true
	if err := w.Check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Workload){
		"conns":    func(w *Workload) { w.Conns = 0 },
		"depth":    func(w *Workload) { w.Depth = MaxDepth + 1 },
		"size":     func(w *Workload) { w.Size.Max = MaxSize + 1 },
		"size ":    func(w *Workload) { w.Size, w.Service = Sizes{Min: 12, Max: 64}, Service{Time: time.Millisecond} },
		"size  ":   func(w *Workload) { w.Size, w.Unordered = Sizes{Min: 7, Max: 64}, true },
		"rate":     func(w *Workload) { w.Rate = -1 },
		"arrival":  func(w *Workload) { w.Arrival = 2 },
		"duration": func(w *Workload) { w.Duration = 0 },
		"warmup":   func(w *Workload) { w.Warmup = -1 },
		"service":  func(w *Workload) { w.Service.Time = time.Nanosecond },

		"service-mode": func(w *Workload) { w.Mode = ModeSleep + 1 },
	} {
		w := good()
		spoil(&w)
		err := w.Check()
		name = strings.TrimSpace(name)
		var o *OptionError
		if !errors.As(err, &o) || o.Option != name || !strings.HasPrefix(err.Error(), name+" ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]Config{
		"threads":        {Workload: good(), Threads: 2},
		"target":         {Workload: good(), Target: "nowhere"},
		"loops":          {Workload: good(), Server: ServerOptions{Loops: -1}},
		"generator-spin": {Workload: good(), Spin: -1},
		"idle":           {Workload: good(), Idle: -1},
		"spin":           {Workload: good(), Server: ServerOptions{Spin: -1}},
		"service":        {Workload: good(), Server: ServerOptions{Service: -1}},
		"service ":       {Workload: good(), Server: ServerOptions{Service: 1, Work: WorkMessage}},
		"work":           {Workload: good(), Server: ServerOptions{Work: 2}},
		"max-message":    {Workload: good(), Server: ServerOptions{MaxMessage: MaxSize + 1}},
		"size":           {Workload: good(), Server: ServerOptions{MaxMessage: 63}},
	} {
		var o *OptionError
		if err := c.Check(); !errors.As(err, &o) || o.Option != strings.TrimSpace(name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConnsOf(t *testing.T) {
	w := good()
	for w.Conns = 1; w.Conns < 20; w.Conns++ {
		for threads := 1; threads <= w.Conns; threads++ {
			sum := 0
			for i := range threads {
				n := w.connsOf(i, threads)
				for j := range n { // the last of a thread must exist, the next must not
					if c := i + j*threads; c >= w.Conns {
						t.Fatalf("%d connections, thread %d of %d: has connection %d", w.Conns, i, threads, c)
					}
				}
				sum += n
			}
			if sum != w.Conns {
				t.Fatalf("%d threads have %d of %d connections", threads, sum, w.Conns)
			}
		}
	}
}
