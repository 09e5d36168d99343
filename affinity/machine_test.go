package affinity

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// parseMachine reads the format of testdata/machines, that of "grep -H . files":
// a line of a file per line, as path:line; a path that comes again continues its
// file. Lines that begin with # are comments, and the path "mask" holds the
// process's mask. testdata/record.sh writes it. The machines are written after
// real layouts; where one is a recording of a single machine its comment says so.
func parseMachine(t testing.TB, text string) (fs.FS, CPUSet) {
	t.Helper()
	machine := fstest.MapFS{}
	var mask CPUSet
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, content, ok := strings.Cut(line, ":")
		switch {
		case !ok:
			t.Fatalf("not path:line: %q", line)
		case name == "mask":
			var err error
			if mask, err = ParseCPUSet(content); err != nil {
				t.Fatal(err)
			}
		case machine[name] == nil:
			machine[name] = &fstest.MapFile{Data: []byte(content)}
		default:
			machine[name].Data = append(machine[name].Data, content...)
		}
	}
	return machine, mask
}

// readMachine returns a machine of testdata/machines and its mask.
func readMachine(t testing.TB, name string) (fs.FS, CPUSet) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "machines", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	return parseMachine(t, string(text))
}

// discoverMachine returns the topology of a machine of testdata/machines.
func discoverMachine(t testing.TB, name string) *Topology {
	t.Helper()
	top, err := DiscoverFS(readMachine(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// machineNames lists testdata/machines.
func machineNames(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/machines/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no machines: %v", err)
	}
	for i, file := range files {
		files[i] = strings.TrimSuffix(filepath.Base(file), ".txt")
	}
	slices.Sort(files)
	return files
}
