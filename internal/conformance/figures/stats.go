package figures

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kcm-go/kcm/internal/conformance"
)

// Mux is a multiplexor as /proc/net/kcm shows it.
type Mux struct {
	Total          string // sockets 1 conns 2 rx 3/27
	Sockets, Conns []string
}

// figures tells counters of messages and bytes: rx msgs, rx bytes, tx msgs, tx bytes.
func figures(f []string, brief bool) string {
	if brief {
		return conformance.Join(nonzero("rx", f[0]), nonzero("tx", f[2]))
	}
	var rx, tx string
	if f[0] != "0" || f[1] != "0" {
		rx = "rx " + f[0] + "/" + f[1]
	}
	if f[2] != "0" || f[3] != "0" {
		tx = "tx " + f[2] + "/" + f[3]
	}
	return conformance.Join(rx, tx)
}

// nonzero returns "name value", nothing if the value is 0.
func nonzero(name, value string) string {
	if value == "0" {
		return ""
	}
	return name + " " + value
}

// ParseMuxes reads /proc/net/kcm: the multiplexors, the newest first. Memory and, for conns,
// the lengths of the queues are left out: they depend on how bytes lie in memory.
//
//	mux              RX-Msgs RX-Bytes TX-Msgs TX-Bytes - - - - KCMs: 1, Psocks 1
//	   kcm-0         RX-Msgs RX-Bytes TX-Msgs TX-Bytes Recv-Q Rmem Send-Q - STATUS...
//	   psock-0       RX-Msgs RX-Bytes TX-Msgs TX-Bytes Recv-Q Rmem Send-Q Smem STATUS...
func ParseMuxes(text string, brief bool) ([]Mux, error) {
	var muxes []Mux
	for _, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if len(f) < 9 || f[0] == "***" || f[0] == "Object" {
			continue
		}
		name, index, indexed := strings.Cut(f[0], "-")
		switch {
		case f[0] == "mux":
			if len(f) != 13 {
				return nil, fmt.Errorf("/proc/net/kcm: %q", line)
			}
			muxes = append(muxes, Mux{
				Total: conformance.Join("sockets", strings.TrimRight(f[10], ","), "conns", f[12], figures(f[1:5], brief)),
			})
		case !indexed || len(muxes) == 0:
			return nil, fmt.Errorf("/proc/net/kcm: %q", line)
		case name == "kcm":
			m := &muxes[len(muxes)-1]
			m.Sockets = append(m.Sockets, "["+conformance.Join(index, figures(f[1:5], brief), nonzero("queue", f[5]),
				nonzero("unsent", f[7]), strings.Join(f[9:], " "))+"]")
		case name == "psock":
			m := &muxes[len(muxes)-1]
			m.Conns = append(m.Conns, "["+conformance.Join(index, figures(f[1:5], brief), strings.Join(f[9:], " "))+"]")
		default:
			return nil, fmt.Errorf("/proc/net/kcm: %q", line)
		}
	}
	return muxes, nil
}

// CountMuxes returns the number of multiplexors that /proc/net/kcm names in its first line.
func CountMuxes(text string) (int, error) {
	var n int
	if _, err := fmt.Sscanf(text, "*** KCM statistics (%d MUX)", &n); err != nil {
		return 0, fmt.Errorf("/proc/net/kcm: %w", err)
	}
	return n, nil
}

// Names of the columns of /proc/net/kcm_stats behind the four of messages and bytes.
var totalNames = map[string]string{
	"TX-Retries": "retries", "Attach": "attach", "Unattach": "unattach", "UnattchRsvd": "unattach-reserved",
	"RX-RdyDrops": "ready-drops", "Reserved": "reserved", "Unreserved": "unreserved", "RX-Aborts": "rx-aborts",
	"RX-Intr": "interrupted", "RX-Unrecov": "unrecoverable", "RX-MemFail": "mem-fail", "RX-NeedMor": "need-more",
	"RX-BadLen": "bad-length", "RX-TooBig": "too-big", "RX-Timeout": "timeout", "TX-Aborts": "tx-aborts",
}

// ParseTotals reads /proc/net/kcm_stats, which is two tables of one line: for the
// multiplexors and for the conns. The values stand under the names that the kernel gives them.
func ParseTotals(text string, brief bool) (mux, conns string, err error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 4 {
		return "", "", fmt.Errorf("/proc/net/kcm_stats has %d lines, want 4", len(lines))
	}
	table := func(head, values string) (string, error) {
		names, f := strings.Fields(head)[1:], strings.Fields(values)
		if len(names) != len(f) || len(f) < 4 {
			return "", fmt.Errorf("/proc/net/kcm_stats: %d names, %d values", len(names), len(f))
		}
		out := figures(f[:4], brief)
		for i, n := range names[4:] {
			name, ok := totalNames[n]
			if !ok {
				return "", fmt.Errorf("/proc/net/kcm_stats: no column %q is known", n)
			}
			if _, err := strconv.ParseUint(f[i+4], 10, 64); err != nil {
				return "", fmt.Errorf("/proc/net/kcm_stats: %w", err)
			}
			out = conformance.Join(out, nonzero(name, f[i+4]))
		}
		return out, nil
	}
	if mux, err = table(lines[0], lines[1]); err != nil {
		return "", "", err
	}
	conns, err = table(lines[2], lines[3])
	return mux, conns, err
}
