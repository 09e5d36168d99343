package bench

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/kcm-go/kcm/affinity"
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
}

// ReadEnv describes this machine and process. top may be nil.
func ReadEnv(top *affinity.Topology) Env {
	e := Env{
		Kernel:     kernel(),
		Go:         runtime.Version(),
		GOMAXPROCS: runtime.GOMAXPROCS(0),
		GOGC:       os.Getenv("GOGC"),
		Version:    version(),
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
