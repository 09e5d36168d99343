package bench

import (
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kcm-go/kcm/affinity"
)

func TestEnvOfRecordedFiles(t *testing.T) {
	const dir = "sys/devices/system/cpu/"
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s + "\n")} }
	root := fstest.MapFS{
		dir + "cpu0/cpufreq/scaling_governor":   file("performance"),
		dir + "vulnerabilities/meltdown":        file("Not affected"),
		dir + "vulnerabilities/spectre_v1":      file("Mitigation: usercopy/swapgs barriers"),
		dir + "vulnerabilities/mds":             file("Vulnerable: Clear CPU buffers attempted, no microcode"),
		dir + "vulnerabilities/itlb_multihit":   file("KVM: Vulnerable"),
		dir + "vulnerabilities/spectre_v2":      file("Mitigation: Enhanced IBRS; SMT vulnerable"),
		dir + "vulnerabilities/tsx_async_abort": file("Not affected"),
	}
	if got := governor(root); got != "performance" {
		t.Errorf("governor %q", got)
	}
	if got, want := mitigations(root), "2 mitigated, 2 not affected, 2 vulnerable (itlb_multihit, mds)"; got != want {
		t.Errorf("mitigations %q, want %q", got, want)
	}
	if governor(fstest.MapFS{}) != "" || mitigations(fstest.MapFS{}) != "" {
		t.Error("something was read from nothing")
	}
}

func TestEnvOfThisMachine(t *testing.T) {
	top, err := affinity.Discover()
	if err != nil {
		t.Fatal(err)
	}
	e := ReadEnv(top)
	if e.Kernel == "" || e.Go != runtime.Version() || e.GOMAXPROCS < 1 || e.CPUs != top.Allowed.String() || e.Cores < 1 {
		t.Errorf("%+v", e)
	}
	if runtime.GOOS == "linux" && !strings.HasPrefix(e.Kernel, "Linux ") {
		t.Errorf("kernel %q", e.Kernel)
	}
}
