package lab

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// hostTSC returns the rate of the host's time stamp counter in kHz, 0 if it is not known or
// the host has none.
func hostTSC() int {
	if runtime.GOARCH != "amd64" {
		return 0
	}
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return 0
	}
	return parseTSC(string(text))
}

// parseTSC derives the rate from /proc/cpuinfo. There, bogomips is the number of loops of a
// delay in a second, in halves of a million; delays count the time stamp counter, so it is twice
// the rate in MHz. (cpu MHz is the rate of the processor at this moment.)
func parseTSC(cpuinfo string) int {
	for _, line := range strings.Split(cpuinfo, "\n") {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "flags":
			if !strings.Contains(value+" ", " constant_tsc ") {
				return 0
			}
		case "bogomips":
			mips, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || mips <= 0 || mips > 1e5 {
				return 0
			}
			return int(math.Round(mips / 2 * 1000))
		}
	}
	return 0
}

// startTime is how long QEMU may take before the guest's clock starts, and after it ends.
const startTime = 1500 * time.Millisecond

// clockError returns an error when the guest's time is not about as long as that of the host.
func clockError(guest, host time.Duration) error {
	if guest > host*5/4 || guest < (host-startTime)*4/5 {
		return fmt.Errorf("the clock of the virtual machine counted %v in %v", guest, host)
	}
	return nil
}
