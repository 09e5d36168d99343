package lab

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// qemu is the program that runs the virtual machine.
const qemu = "qemu-system-x86_64"

// tools are the programs that the lab runs, and Debian's packages that have them.
var tools = []struct{ program, pkg string }{
	{qemu, "qemu-system-x86"},
	{"apt-get", "apt"},
	{"apt-cache", "apt"},
	{"dpkg-deb", "dpkg"},
	{"xz", "xz-utils"},
	{"zstd", "zstd"},
	{"nice", "coreutils"},
}

// CheckTools returns an error that names the packages to be installed, in one line.
func CheckTools() error {
	var programs, packages []string
	for _, t := range tools {
		if _, err := exec.LookPath(t.program); err != nil {
			programs = append(programs, t.program)
			if !slices.Contains(packages, t.pkg) {
				packages = append(packages, t.pkg)
			}
		}
	}
	if programs == nil {
		return nil
	}
	return fmt.Errorf("lab: no %s here: apt-get install --no-install-recommends %s",
		strings.Join(programs, ", "), strings.Join(packages, " "))
}
