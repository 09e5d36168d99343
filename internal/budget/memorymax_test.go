package budget

import (
	"os"
	"testing"
	"testing/fstest"
)

func TestMemoryMax(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"nothing can be read", nil, 0},
		{"version 2, in a container", map[string]string{
			"proc/self/cgroup":         "0::/\n",
			"sys/fs/cgroup/memory.max": "268435456\n",
		}, 256 * mib},
		{"version 2, a unit in a slice with less", map[string]string{
			"proc/self/cgroup": "0::/system.slice/kcm.service\n",
			"sys/fs/cgroup/system.slice/kcm.service/memory.max": "268435456\n",
			"sys/fs/cgroup/system.slice/memory.max":             "134217728\n",
		}, 128 * mib},
		{"version 2, no limit", map[string]string{
			"proc/self/cgroup": "0::/user.slice\n", "sys/fs/cgroup/user.slice/memory.max": "max\n",
		}, 0},
		{"version 2, another's root", map[string]string{
			"proc/self/cgroup": "0::/../other\n", "sys/fs/cgroup/memory.max": "1048576\n",
		}, mib},
		{"version 1", map[string]string{
			"proc/self/cgroup": "12:cpu,cpuacct:/docker/x\n9:memory:/docker/x\n1:name=systemd:/docker/x\n0::/\n",
			"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "67108864\n",
			"sys/fs/cgroup/memory/docker/memory.limit_in_bytes":   "9223372036854771712\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":          "9223372036854771712\n",
		}, 64 * mib},
		{"version 1, in a container that sees the host's path", map[string]string{
			"proc/self/cgroup":                           "9:cpuset,memory:/kubepods/y\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "33554432\n",
		}, 32 * mib},
		{"version 1, no limit", map[string]string{
			"proc/self/cgroup":                           "9:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 0},
		{"a limit of another kind", map[string]string{
			"proc/self/cgroup": "9:hugetlb:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "4096\n",
		}, 0},
		{"nonsense", map[string]string{
			"proc/self/cgroup": "\n:\n0::\nmemory\n", "sys/fs/cgroup/memory.max": "much\n",
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, text := range c.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := MemoryMax(root); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}

// What the real system says is none, or a limit under which this process lives.
func TestMemoryMaxHere(t *testing.T) {
	if n := MemoryMax(os.DirFS("/")); n != 0 && n < mib {
		t.Errorf("%d bytes", n)
	}
}
