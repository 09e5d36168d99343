package affinity

import "testing"

// TestCgroups has one layout per case: what is mounted where, which group the
// process is in, and which limits the groups on its way up have.
func TestCgroups(t *testing.T) {
	const v2 = "proc/self/mountinfo:29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
	for _, tt := range []struct {
		name, machine string
		quota         float64
		quotaFile     string
		allowed       string // of mask 0-7
	}{
		{"no cgroups", "", 0, "", "0-7"},
		{"v2 without limits", v2 + `proc/self/cgroup:0::/a/b
sys/fs/cgroup/a/b/cpu.max:max 100000
`, 0, "", "0-7"},
		{"v2, own limit", v2 + `proc/self/cgroup:0::/a/b
sys/fs/cgroup/a/b/cpu.max:25000 50000
sys/fs/cgroup/a/b/cpuset.cpus.effective:0-3
sys/fs/cgroup/a/cpuset.cpus.effective:0-5
`, 0.5, "sys/fs/cgroup/a/b/cpu.max", "0-3"},
		{"v2, an ancestor is tighter", v2 + `proc/self/cgroup:0::/a/b
sys/fs/cgroup/a/b/cpu.max:400000 100000
sys/fs/cgroup/a/cpu.max:200000 100000
`, 2, "sys/fs/cgroup/a/cpu.max", "0-7"},
		{"v2, cpuset controller only above", v2 + `proc/self/cgroup:0::/a/b
sys/fs/cgroup/a/cpuset.cpus.effective:2-5
sys/fs/cgroup/cpuset.cpus.effective:0-7
`, 0, "", "2-5"},
		{"v2, group of another's limit", v2 + `proc/self/cgroup:0::/a
sys/fs/cgroup/a/b/cpu.max:100000 100000
sys/fs/cgroup/ab/cpu.max:100000 100000
`, 0, "", "0-7"},
		{"v2, group outside our namespace", v2 + `proc/self/cgroup:0::/../other
sys/fs/cgroup/cpu.max:300000 100000
sys/fs/cgroup/other/cpu.max:100000 100000
`, 3, "sys/fs/cgroup/cpu.max", "0-7"},
		{"v2, mount from outside our namespace", `proc/self/mountinfo:29 23 0:26 /../.. /host/cgroup rw - cgroup2 cgroup2 rw
proc/self/cgroup:0::/
host/cgroup/cpu.max:100000 100000
`, 0, "", "0-7"},
		{"v2, mounted elsewhere, with a space", `proc/self/mountinfo:29 23 0:26 / /my\040groups rw shared:9 - cgroup2 none rw
proc/self/cgroup:0::/a
my groups/a/cpu.max:150000 100000
`, 1.5, "my groups/a/cpu.max", "0-7"},
		{"v2, no mountinfo", `proc/self/cgroup:0::/a
sys/fs/cgroup/a/cpu.max:150000 100000
sys/fs/cgroup/a/cpuset.cpus.effective:1
`, 1.5, "sys/fs/cgroup/a/cpu.max", "1"},
		{"v2, zero and malformed limits", v2 + `proc/self/cgroup:0::/a/b/c
sys/fs/cgroup/a/b/c/cpu.max:0 100000
sys/fs/cgroup/a/b/cpu.max:100000
sys/fs/cgroup/a/cpu.max:100000 0
sys/fs/cgroup/a/cpuset.cpus.effective:all
`, 0, "", "0-7"},
		{"v1, group below the mounted one", `proc/self/mountinfo:1 2 0:3 /docker/x /sys/fs/cgroup/cpu ro - cgroup cpu rw,cpu,cpuacct
proc/self/cgroup:4:cpuacct,cpu:/docker/x/sub
sys/fs/cgroup/cpu/sub/cpu.cfs_quota_us:150000
sys/fs/cgroup/cpu/sub/cpu.cfs_period_us:50000
sys/fs/cgroup/cpu/cpu.cfs_quota_us:-1
sys/fs/cgroup/cpu/cpu.cfs_period_us:100000
`, 3, "sys/fs/cgroup/cpu/sub/cpu.cfs_quota_us", "0-7"},
		{"v1, no mountinfo", `proc/self/cgroup:4:cpu,cpuacct:/a
proc/self/cgroup:3:cpuset:/
sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us:150000
sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us:100000
sys/fs/cgroup/cpuset/cpuset.cpus:4-9
`, 1.5, "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "4-7"},
		{"v1, only another controller's group is limited", `proc/self/mountinfo:1 2 0:3 / /sys/fs/cgroup/cpu rw - cgroup cpu rw,cpu
proc/self/mountinfo:1 2 0:4 / /sys/fs/cgroup/memory rw - cgroup memory rw,memory
proc/self/cgroup:4:cpu:/a
proc/self/cgroup:5:memory:/b
sys/fs/cgroup/cpu/b/cpu.cfs_quota_us:100000
sys/fs/cgroup/cpu/b/cpu.cfs_period_us:100000
`, 0, "", "0-7"},
		{"mixed, cpu in v1 and cpuset in v2", `proc/self/mountinfo:32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
proc/self/mountinfo:41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
proc/self/cgroup:1:cpu:/a
proc/self/cgroup:0::/s
sys/fs/cgroup/cpu/a/cpu.cfs_quota_us:350000
sys/fs/cgroup/cpu/a/cpu.cfs_period_us:100000
sys/fs/cgroup/unified/s/cpuset.cpus.effective:3-4
`, 3.5, "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "3-4"},
		{"two cpusets", `proc/self/mountinfo:34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset
proc/self/mountinfo:41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
proc/self/cgroup:3:cpuset:/a
proc/self/cgroup:0::/s
sys/fs/cgroup/cpuset/a/cpuset.effective_cpus:1-4
sys/fs/cgroup/cpuset/a/cpuset.cpus:0-7
sys/fs/cgroup/unified/s/cpuset.cpus.effective:3-6
`, 0, "", "3-4"},
		{"groups not known", `proc/self/mountinfo:32 31 0:29 /docker/x /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu
proc/self/mountinfo:41 31 0:38 /docker/x /sys/fs/cgroup/unified ro - cgroup2 cgroup2 rw
sys/fs/cgroup/cpu/cpu.cfs_quota_us:350000
sys/fs/cgroup/cpu/cpu.cfs_period_us:100000
sys/fs/cgroup/unified/cpuset.cpus.effective:3-4
`, 3.5, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "3-4"},
		{"mixed, no mountinfo", `proc/self/cgroup:1:cpu:/a
proc/self/cgroup:0::/s
sys/fs/cgroup/cpu/a/cpu.cfs_quota_us:350000
sys/fs/cgroup/cpu/a/cpu.cfs_period_us:100000
sys/fs/cgroup/unified/s/cpuset.cpus.effective:3-4
`, 3.5, "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "3-4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			machine, _ := parseMachine(t, tt.machine)
			mask, err := ParseCPUSet("0-7")
			if err != nil {
				t.Fatal(err)
			}
			top, err := DiscoverFS(machine, mask)
			if err != nil {
				t.Fatal(err)
			}
			if top.Quota != tt.quota || top.QuotaFile != tt.quotaFile {
				t.Errorf("quota %v from %q, want %v from %q", top.Quota, top.QuotaFile, tt.quota, tt.quotaFile)
			}
			if top.Allowed.String() != tt.allowed {
				t.Errorf("allowed %s, want %s", top.Allowed, tt.allowed)
			}
		})
	}
}
