package main

import (
	"fmt"
	"strconv"
	"strings"
)

// config is one load: conns connections with depth messages of size bytes in
// flight on each.
type config struct {
	Conns int `json:"conns"`
	Depth int `json:"depth"`
	Size  int `json:"size"` // payload, bytes
	// Rate is of an open loop, messages per second in all; 0 is a closed one.
	Rate int `json:"rate,omitempty"`
}

// parseConfigs reads a comma-separated list of CONNSxDEPTHxSIZE[@RATE]; a size may end
// in KiB or MiB.
func parseConfigs(list string) ([]config, error) {
	var configs []config
	for item := range strings.SplitSeq(list, ",") {
		c, err := parseConfig(item)
		if err != nil {
			return nil, fmt.Errorf("config %q: %w", item, err)
		}
		configs = append(configs, c)
	}
	return configs, nil
}

func parseConfig(s string) (config, error) {
	s, rate, open := strings.Cut(s, "@")
	parts := strings.Split(s, "x")
	if len(parts) != 3 {
		return config{}, fmt.Errorf("want CONNSxDEPTHxSIZE[@RATE], such as 64x16x64")
	}
	size, unit := parts[2], 1
	if rest, ok := strings.CutSuffix(size, "KiB"); ok {
		size, unit = rest, 1<<10
	} else if rest, ok := strings.CutSuffix(size, "MiB"); ok {
		size, unit = rest, 1<<20
	}
	var n [3]int
	for i, digits := range []string{parts[0], parts[1], size} {
		v, err := strconv.Atoi(digits)
		if err != nil {
			return config{}, err
		}
		n[i] = v
	}
	c := config{Conns: n[0], Depth: n[1], Size: n[2] * unit}
	if open {
		var err error
		if c.Rate, err = strconv.Atoi(rate); err != nil || c.Rate < 1 {
			return config{}, fmt.Errorf("rate %q: want messages per second", rate)
		}
	}
	if c.Conns < 1 || c.Depth < 1 || c.Size < 0 || c.Size > 16<<20 {
		return config{}, fmt.Errorf("want at least 1 connection and 1 message in flight, and 0 to 16 MiB")
	}
	return c, nil
}

// args are the same as arguments of the generator.
func (c config) args() []string {
	list := []string{"-conns", strconv.Itoa(c.Conns), "-depth", strconv.Itoa(c.Depth), "-size", strconv.Itoa(c.Size)}
	if c.Rate > 0 {
		list = append(list, "-rate", strconv.Itoa(c.Rate), "-arrival", "poisson")
	}
	return list
}

// String is the form that parseConfigs reads.
func (c config) String() string {
	s := fmt.Sprintf("%dx%dx%s", c.Conns, c.Depth, c.size(""))
	if c.Rate > 0 {
		s += fmt.Sprintf("@%d", c.Rate)
	}
	return s
}

// title says the same in words.
func (c config) title() string {
	conns := "connections"
	if c.Conns == 1 {
		conns = "connection"
	}
	if c.Rate > 0 {
		return fmt.Sprintf("%d %s, %d messages/s, %s", c.Conns, conns, c.Rate, c.size(" "))
	}
	return fmt.Sprintf("%d %s, %d in flight on each, %s", c.Conns, conns, c.Depth, c.size(" "))
}

func (c config) size(space string) string {
	switch {
	case c.Size >= 1<<20 && c.Size%(1<<20) == 0:
		return fmt.Sprintf("%d%sMiB", c.Size>>20, space)
	case c.Size >= 1<<10 && c.Size%(1<<10) == 0:
		return fmt.Sprintf("%d%sKiB", c.Size>>10, space)
	case space != "":
		return fmt.Sprintf("%d B", c.Size)
	}
	return strconv.Itoa(c.Size)
}
