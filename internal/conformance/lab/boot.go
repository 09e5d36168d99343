package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Run boots the image and runs the load with guest, the program that BuildGuest made. It ends
// when ctx does. The error has the end of the kernel's log when the machine did not come to its
// end.
func (im *Image) Run(ctx context.Context, guest string, load Load) (*Report, error) {
	dir, err := os.MkdirTemp("", "kcm-lab-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	initrd, err := im.initrd(guest, load)
	if err != nil {
		return nil, err
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("initrd"), initrd, 0o644); err != nil {
		return nil, err
	}
	var complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, "nice", append([]string{"-n", "10", qemu}, im.arguments(at, load.megabytes())...)...)
	cmd.Stdout, cmd.Stderr = &complaint, &complaint
	began := time.Now()
	ran := cmd.Run()
	elapsed := time.Since(began)

	text, err := os.ReadFile(at("report"))
	if err == nil {
		var r *Report
		if r, err = parseReport(string(text)); err == nil {
			r.Elapsed = elapsed
			err = clockError(r.Boot+r.Ran, elapsed)
		}
		if err == nil {
			return r, nil
		}
	}
	if ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	}
	return nil, fmt.Errorf("lab: Linux %s: %w; %v\n%s%s", im.Series, err, ran, complaint.Bytes(), tail(at("log"), 30))
}

// arguments returns those of QEMU. at names the files of the run.
func (im *Image) arguments(at func(string) string, megabytes string) []string {
	kernel := "console=ttyS0 loglevel=5 panic=-1 oops=panic random.trust_cpu=on rdinit=/init"
	if khz := hostTSC(); khz > 0 {
		kernel += fmt.Sprintf(" tsc_early_khz=%d tsc=reliable", khz)
	}
	return []string{
		"-kernel", im.vmlinux, "-initrd", at("initrd"), "-append", kernel,
		"-accel", "tcg", "-smp", "1", "-m", megabytes,
		"-nodefaults", "-display", "none", "-no-reboot", "-nic", "none",
		"-serial", "file:" + at("log"), "-serial", "file:" + at("report"),
	}
}

// tail returns the last n lines of a file, as far as it can be read.
func tail(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
