package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// newest returns the newest package with a kernel of the series in what apt-cache search
// says: "NAME - DESCRIPTION" in each line. The kernels for clouds and those with real-time
// scheduling are others. Of a version the package that is not signed is taken, as it is one
// that apt can always download.
func newest(search, series string) (string, error) {
	name := regexp.MustCompile(`^linux-image-(` + regexp.QuoteMeta(series) + `\.[0-9][^ ]*?)-amd64(-unsigned)?$`)
	var best, bestVersion string
	for _, line := range strings.Split(search, "\n") {
		pkg, _, _ := strings.Cut(line, " ")
		m := name.FindStringSubmatch(pkg)
		if m == nil || strings.HasSuffix(m[1], "-cloud") || strings.HasSuffix(m[1], "-rt") {
			continue
		}
		if c := slices.Compare(numbers(m[1]), numbers(bestVersion)); best == "" || c > 0 || c == 0 && m[2] != "" {
			best, bestVersion = pkg, m[1]
		}
	}
	if best == "" {
		return "", fmt.Errorf("apt offers no linux-image-%s.*-amd64: apt-get update, or a Debian release that has it", series)
	}
	return best, nil
}

// numbers returns the numbers in a version.
func numbers(version string) []int {
	var list []int
	for _, d := range regexp.MustCompile(`[0-9]+`).FindAllString(version, -1) {
		n, _ := strconv.Atoi(d) // it is digits; one that does not fit is the largest int
		list = append(list, n)
	}
	return list
}

// fetch downloads the package and unpacks it into dir/tree. It returns its file's name.
func fetch(ctx context.Context, pkg, dir string) (string, error) {
	if _, err := output(ctx, dir, "apt-get", "download", "-q", pkg); err != nil {
		return "", err
	}
	debs, err := filepath.Glob(dir + "/*.deb")
	if err != nil || len(debs) != 1 {
		return "", fmt.Errorf("apt-get download %s left %d packages", pkg, len(debs))
	}
	if _, err := output(ctx, dir, "dpkg-deb", "-x", debs[0], filepath.Join(dir, "tree")); err != nil {
		return "", err
	}
	return filepath.Base(debs[0]), os.Remove(debs[0])
}

// output runs a program in dir and returns what it prints. The error has what it complains
// about.
func output(ctx context.Context, dir, program string, args ...string) (string, error) {
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, bytes.TrimSpace(complaint.Bytes()))
	}
	return out.String(), nil
}
