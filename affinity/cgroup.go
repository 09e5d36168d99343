package affinity

import (
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// cgroups finds the control groups that limit this process. A controller lives
// either in a v1 hierarchy of its own or in the v2 hierarchy, and both kinds may
// be mounted at once; so every mount that could carry a limit is asked, and the
// tightest answer counts. A file that is not there is no limit.
//
// Limits are hierarchical, so a group's ancestors are asked too, up to the root
// of the mount. What lies above that, outside a container, cannot be seen.
//
// Sources: cgroups(7), proc_pid_mountinfo(5), and the kernel's
// admin-guide/cgroup-v2 and scheduler/sched-bwc.
type cgroups struct {
	fsys   fs.FS
	mounts []cgroupMount
	v1     map[string]string // controller -> path of the process's group
	v2     string            // path of the process's group
}

// cgroupMount is one mounted hierarchy.
type cgroupMount struct {
	root        string   // the group at the mount point, "/" for the top one
	point       string   // where it is mounted, relative to the file system's root
	controllers []string // of v1; nil means v2
}

func readCgroups(fsys fs.FS) *cgroups {
	g := &cgroups{fsys: fsys, v1: map[string]string{}, v2: "/"}
	// Without mountinfo, the places where everyone mounts them.
	usual := []cgroupMount{
		{root: "/", point: "sys/fs/cgroup"},
		{root: "/", point: "sys/fs/cgroup/unified"},
	}
	// hierarchy-ID:controller-list:cgroup-path
	for line := range strings.Lines(readText(fsys, "proc/self/cgroup")) {
		part := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(part) < 3 {
			continue
		}
		if part[0] == "0" && part[1] == "" {
			g.v2 = part[2]
			continue
		}
		controllers := strings.Split(part[1], ",")
		for _, name := range controllers {
			g.v1[name] = part[2]
		}
		usual = append(usual, cgroupMount{
			root: "/", point: "sys/fs/cgroup/" + part[1], controllers: controllers,
		})
	}
	mountinfo := readText(fsys, "proc/self/mountinfo")
	if mountinfo == "" {
		g.mounts = usual
		return g
	}
	for line := range strings.Lines(mountinfo) {
		if m, ok := parseCgroupMount(line); ok {
			g.mounts = append(g.mounts, m)
		}
	}
	return g
}

// mountinfo writes these characters in octal.
var unescapeMount = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// parseCgroupMount reads a line of mountinfo:
//
//	36 35 0:30 /group /sys/fs/cgroup/cpu rw,relatime shared:1 - cgroup cgroup rw,cpu
func parseCgroupMount(line string) (m cgroupMount, ok bool) {
	left, right, _ := strings.Cut(line, " - ")
	mount, kind := strings.Fields(left), strings.Fields(right)
	if len(mount) < 5 || len(kind) < 3 {
		return m, false
	}
	switch kind[0] {
	case "cgroup":
		m.controllers = strings.Split(kind[2], ",")
	case "cgroup2":
	default:
		return m, false
	}
	m.root = unescapeMount.Replace(mount[3])
	m.point = strings.TrimPrefix(unescapeMount.Replace(mount[4]), "/")
	// A mount from outside our cgroup namespace does not tell where we are in it.
	return m, !hasDotDot(m.root)
}

// hasDotDot reports whether a group's path leads out of the cgroup namespace.
func hasDotDot(group string) bool {
	return slices.Contains(strings.Split(group, "/"), "..")
}

// chains returns, for each mount that may carry the controller, the directories
// from the process's own group up to the mount point. A group that is not known,
// or not below the mounted one, is taken to be the mounted one: so it is in a
// container.
func (g *cgroups) chains(controller string) [][]string {
	var chains [][]string
	for _, m := range g.mounts {
		group := g.v2
		if m.controllers != nil {
			if !slices.Contains(m.controllers, controller) {
				continue
			}
			group = g.v1[controller]
		}
		below := "/"
		switch {
		case hasDotDot(group):
		case m.root == "/":
			below = path.Clean("/" + group)
		case strings.HasPrefix(group, m.root+"/"):
			below = path.Clean(strings.TrimPrefix(group, m.root))
		}
		var chain []string
		for ; below != "/"; below = path.Dir(below) {
			chain = append(chain, path.Join(m.point, below))
		}
		chains = append(chains, append(chain, path.Join(m.point)))
	}
	return chains
}

// quota returns the tightest CPU bandwidth limit in CPUs and the file that sets
// it, or 0 and "" if there is none.
func (g *cgroups) quota() (cpus float64, file string) {
	for _, chain := range g.chains("cpu") {
		for _, dir := range chain {
			limit, from := g.quotaOf(dir)
			if limit > 0 && (cpus == 0 || limit < cpus) {
				cpus, file = limit, from
			}
		}
	}
	return cpus, file
}

// quotaOf reads one group's limit: "50000 100000" in v2's cpu.max, or two files
// in v1. Both are microseconds of CPU time per period; v2 writes "max" and v1
// writes -1 for no limit.
func (g *cgroups) quotaOf(dir string) (cpus float64, file string) {
	file = path.Join(dir, "cpu.max")
	quota, period, _ := strings.Cut(readLine(g.fsys, file), " ")
	if quota == "" {
		file = path.Join(dir, "cpu.cfs_quota_us")
		quota = readLine(g.fsys, file)
		period = readLine(g.fsys, path.Join(dir, "cpu.cfs_period_us"))
	}
	q, errQuota := strconv.ParseInt(quota, 10, 64)
	p, errPeriod := strconv.ParseInt(period, 10, 64)
	if errQuota != nil || errPeriod != nil || q <= 0 || p <= 0 {
		return 0, ""
	}
	return float64(q) / float64(p), file
}

// cpuset returns the CPUs that all cpuset controllers leave to the process; ok
// is false if none says anything. A group without a list of its own has that of
// its nearest ancestor with one.
func (g *cgroups) cpuset() (set CPUSet, ok bool) {
	names := []string{"cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"}
	for _, chain := range g.chains("cpuset") {
		if list, found := g.nearestList(chain, names); found {
			if ok {
				list = list.And(set)
			}
			set, ok = list, true
		}
	}
	return set, ok
}

func (g *cgroups) nearestList(chain, names []string) (CPUSet, bool) {
	for _, dir := range chain {
		for _, name := range names {
			if list, found := readList(g.fsys, path.Join(dir, name)); found {
				return list, true
			}
		}
	}
	return CPUSet{}, false
}
