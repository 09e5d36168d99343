package bench

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/kcm-go/kcm/affinity"
	"github.com/kcm-go/kcm/ring"
)

// Env is the machine and the program a figure was taken with. What could not be
// read is empty.
type Env struct {
	Kernel      string  `json:"kernel"` // name, release and machine
	CPU         string  `json:"cpu"`    // model
	CPUs        string  `json:"cpus"`   // those this process may use, as a list
	Cores       int     `json:"cores"`  // physical cores behind them
	Quota       float64 `json:"quota"`  // cgroup limit in CPUs, 0: none
	Governor    string  `json:"governor"`
	Mitigations string  `json:"mitigations"` // summary of the processor's vulnerabilities
	Go          string  `json:"go"`
	GOMAXPROCS  int     `json:"gomaxprocs"`
	GOGC        string  `json:"gogc,omitempty"`
	Version     string  `json:"version"` // of this module, with the commit if known

	Modules  map[string]string  `json:"modules,omitempty"`  // versions of the others in the program
	Topology *affinity.Topology `json:"topology,omitempty"` // processors
	Limits   []Limit            `json:"limits,omitempty"`   // of the system on this process
	// Features are what the io_uring back end found and uses; in a Report only, and only if
	// a loop of it runs on io_uring.
	Features []string `json:"features,omitempty"`
	// StealPercent is the share of the machine's time, from the beginning of the measured
	// time to its end, that the hypervisor gave to others (/proc/stat); in a Report only.
	StealPercent *float64 `json:"steal_percent,omitempty"`
}

// Limit is one bound of the system on this process.
type Limit struct {
	Name  string `json:"name"`
	Value string `json:"value"` // in bytes or pieces, or "unlimited"
}

// ReadEnv describes this machine and process. top may be nil.
func ReadEnv(top *affinity.Topology) Env {
	e := Env{
		Kernel:     kernel(),
		Go:         runtime.Version(),
		GOMAXPROCS: runtime.GOMAXPROCS(0),
		GOGC:       os.Getenv("GOGC"),
		Version:    version(),
		Modules:    modules(),
		Topology:   top,
		Limits:     limits(),
	}
	if top != nil {
		e.CPU = top.Brand
		e.CPUs = top.Allowed.String()
		e.Cores = top.Physical
		e.Quota = top.Quota
	}
	root := os.DirFS("/")
	e.Governor = governor(root)
	e.Mitigations = mitigations(root)
	return e
}

// governor returns the frequency governor of CPU 0, "" where there is none, as in
// most virtual machines.
func governor(root fs.FS) string {
	b, err := fs.ReadFile(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// mitigations sums up /sys/devices/system/cpu/vulnerabilities: how many are
// mitigated (which costs time), and the names of those that are open.
func mitigations(root fs.FS) string {
	const dir = "sys/devices/system/cpu/vulnerabilities"
	entries, err := fs.ReadDir(root, dir)
	if err != nil || len(entries) == 0 {
		return ""
	}
	mitigated, fine := 0, 0
	var open []string
	for _, e := range entries {
		b, err := fs.ReadFile(root, path.Join(dir, e.Name()))
		text := strings.TrimSpace(string(b))
		switch {
		case err != nil:
		case strings.HasPrefix(text, "Not affected"):
			fine++
		case strings.Contains(text, "Vulnerable"):
			open = append(open, e.Name())
		default:
			mitigated++
		}
	}
	s := fmt.Sprintf("%d mitigated, %d not affected, %d vulnerable", mitigated, fine, len(open))
	if len(open) > 0 {
		s += " (" + strings.Join(open, ", ") + ")"
	}
	return s
}

// version returns the module's version and, if the build knows it, the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v += " " + s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			v += " modified"
		}
	}
	return v
}

// modules returns the versions of the modules the program was built with, by path.
func modules() map[string]string {
	info, ok := debug.ReadBuildInfo()
	if !ok || len(info.Deps) == 0 {
		return nil
	}
	m := make(map[string]string, len(info.Deps))
	for _, d := range info.Deps {
		if m[d.Path] = d.Version; d.Replace != nil {
			m[d.Path] = d.Replace.Path + " " + d.Replace.Version
		}
	}
	return m
}

// features returns the names of what io_uring offers here.
func features() (names []string) {
	for _, f := range ring.Probe() {
		if f.State == "yes" {
			names = append(names, f.Name)
		}
	}
	return names
}

// cpuTime is the time of all processors so far, in ticks: all of it, and what was
// stolen.
type cpuTime struct{ all, steal uint64 }

// readCPUTime reads the first line of /proc/stat (proc(5)): user, nice, system, idle,
// iowait, irq, softirq and steal; what follows is part of user and nice. It returns
// zeros if there is none.
func readCPUTime(root fs.FS) (t cpuTime) {
	b, err := fs.ReadFile(root, "proc/stat")
	if err != nil {
		return t
	}
	line, _, _ := strings.Cut(string(b), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return t
	}
	for i, f := range fields[1:9] {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return cpuTime{}
		}
		t.all += n
		if i == 7 {
			t.steal = n
		}
	}
	return t
}

// stealPercent returns the share stolen between two readings, nil if there was no time.
func stealPercent(before, after cpuTime) *float64 {
	if after.all <= before.all || after.steal < before.steal {
		return nil
	}
	p := 100 * float64(after.steal-before.steal) / float64(after.all-before.all)
	return &p
}
