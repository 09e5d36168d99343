package main

import (
	"fmt"
	"strconv"
	"strings"
)

// config is a load of kcmbench run: conns connections with depth messages in flight on
// each. The size is as kcmbench reads it.
type config struct {
	conns, depth int
	size         string
}

// defaultConfigs are small messages one at a time and in batches, larger ones, and one
// message alone.
const defaultConfigs = "64x1x64,64x16x64,64x4x4KiB,8x4x64KiB,1x1x64"

// parseConfigs reads a comma-separated list of CONNSxDEPTHxSIZE.
func parseConfigs(list string) ([]config, error) {
	var configs []config
	for item := range strings.SplitSeq(list, ",") {
		parts := strings.Split(item, "x")
		if len(parts) != 3 || parts[2] == "" {
			return nil, fmt.Errorf("config %q: want CONNSxDEPTHxSIZE, such as 64x16x64", item)
		}
		var n [2]int
		for i := range n {
			v, err := strconv.Atoi(parts[i])
			if err != nil || v < 1 {
				return nil, fmt.Errorf("config %q: want at least 1 connection and 1 message in flight", item)
			}
			n[i] = v
		}
		configs = append(configs, config{n[0], n[1], parts[2]})
	}
	return configs, nil
}

func (c config) String() string { return fmt.Sprintf("%dx%dx%s", c.conns, c.depth, c.size) }

// alone reports whether a message never waits for another, so that its latency says
// what the server takes.
func (c config) alone() bool { return c.conns == 1 && c.depth == 1 }

// args are the same as arguments of the generator. It does not sleep when it waits for
// the reply to a lone message, or its own waking up would be in the latency.
func (c config) args() []string {
	args := []string{"-conns", strconv.Itoa(c.conns), "-depth", strconv.Itoa(c.depth), "-size", c.size}
	if c.alone() {
		args = append(args, "-generator-spin", "1ms")
	}
	return args
}
