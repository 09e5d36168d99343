package rig

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// run is the thread of the starter. It is never unlocked, for its affinity is
// that of the child started last.
func (s *Starter) run() {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread does not end with its goroutine. While this goroutine
		// holds it, the next one gets another.
		taken := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(taken)
			s.serve()
		}()
		<-taken
		runtime.UnlockOSThread()
		return
	}
	s.serve()
}

func (s *Starter) serve() {
	for start := range s.starts {
		start()
	}
}

// pinThread restricts the calling thread, and what it starts, to one CPU.
func pinThread(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to CPU %d: %w", cpu, err)
	}
	return nil
}

// isolate keeps the terminal's interrupt from the child, which this program
// ends itself, and has the kernel kill it if this program is killed.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// AllowedCPUs returns the CPUs this program may use, in ascending order.
func AllowedCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("allowed CPUs: %w", err)
	}
	var cpus []int
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// Machine describes what the numbers were measured on.
func Machine() string {
	var parts []string
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				parts = append(parts, strings.TrimSpace(value))
				break
			}
		}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		parts = append(parts, "Linux "+unix.ByteSliceToString(u.Release[:]))
	}
	return strings.Join(append(parts, runtime.GOARCH, runtime.Version()), ", ")
}

// siblings reports whether two CPUs are threads of one core.
func siblings(a, b int) bool {
	of := func(cpu int) string {
		list, _ := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu))
		return string(list)
	}
	return of(a) != "" && of(a) == of(b)
}
