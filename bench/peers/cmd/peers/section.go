package main

import (
	"slices"
	"strings"
)

// section is one part of the comparison: loads, who is compared under them, and by what.
type section struct {
	name    string
	about   string // a line under its heading
	loads   []config
	servers []string // each a name of serverNames, with a variant perhaps
	bases   []string // whose ratios to all others are reported
	metrics []string // what is compared
	gen     []string // further arguments of the generator
	share   float64  // if not 0, loads are open loops at this share of what servers reach
	targets []target
}

// garbage is what servers of the variant +garbage allocate per second.
const garbage = "104857600"

// variants of a server, written behind its name: what they are started with.
var variants = map[string]struct {
	kcm, peer []string // arguments
	procs     string   // GOMAXPROCS, in place of 1
	idle      int      // connections beside those that send
}{
	"spin":    {kcm: []string{"-spin", "100us"}},
	"idle":    {idle: 7936},
	"two":     {procs: "2"},
	"garbage": {kcm: []string{"-garbage", garbage}, peer: []string{"-garbage", garbage}, procs: "2"},
}

// sections is the whole comparison.
func sections() []section {
	load := func(list ...config) []config { return list }
	return []section{
		{
			name:    "small",
			loads:   load(config{Conns: 64, Depth: 1, Size: 64}, config{Conns: 64, Depth: 16, Size: 64}),
			servers: serverNames(),
			bases:   bases,
			metrics: []string{"cpu", "messages/s"},
			targets: []target{
				{of: "kcm-uring", to: "c-uring", metric: "cpu", most: 1.10, bound: true},
				{of: "kcm-uring", to: "net", load: "64x1x64", metric: "cpu", most: 0.85, bound: true},
				{of: "kcm-uring", to: "net", load: "64x16x64", metric: "cpu", most: 0.75, bound: true},
				{of: "kcm-uring", to: "gnet", metric: "cpu", most: 1},
				{of: "kcm-uring", to: "netpoll", metric: "cpu", most: 1},
				{of: "kcm-uring", to: "nbio", metric: "cpu", most: 1},
				{of: "kcm-epoll", to: "net", metric: "cpu", most: 1},
			},
		},
		{
			name:    "lone",
			about:   "The generator looks for replies and does not sleep, so that its own waking up is not in the latency. +spin: the server looks for messages for up to 100 us before it sleeps.",
			loads:   load(config{Conns: 1, Depth: 1, Size: 64}),
			servers: []string{"kcm-uring", "kcm-uring+spin", "kcm-epoll", "kcm-epoll+spin", "net", "c-epoll", "c-uring"},
			bases:   []string{"kcm-uring", "kcm-uring+spin"},
			metrics: []string{"p50", "cpu"},
			gen:     []string{"-generator-spin", "200us"},
			targets: []target{
				{of: "kcm-uring+spin", to: "net", metric: "p50", most: 0.45},
				{of: "kcm-uring", to: "net", metric: "p50", most: 1},
			},
		},
		{
			name:    "large",
			loads:   load(config{Conns: 8, Depth: 4, Size: 64 << 10}, config{Conns: 2, Depth: 2, Size: 1 << 20}),
			servers: []string{"kcm-uring", "kcm-epoll", "net", "gnet", "netpoll", "nbio", "c-epoll", "c-uring"},
			bases:   bases,
			metrics: []string{"messages/s", "cpu"},
			targets: []target{
				{of: "kcm-uring", to: "net", metric: "messages/s", least: 1},
				{of: "kcm-uring", to: "c-epoll", metric: "messages/s", least: 1},
				{of: "kcm-epoll", to: "net", metric: "messages/s", least: 1},
				{of: "kcm-epoll", to: "c-epoll", metric: "messages/s", least: 1},
			},
		},
		{
			name:    "many",
			loads:   load(config{Conns: 1000, Depth: 1, Size: 64}),
			servers: []string{"kcm-uring", "kcm-epoll", "net", "gnet", "c-epoll", "c-uring"},
			bases:   bases,
			metrics: []string{"messages/s", "p99"},
			targets: []target{
				{of: "kcm-uring", to: "net", metric: "messages/s", least: 1.25},
				{of: "kcm-uring", to: "c-uring", metric: "p99", most: 1.2},
			},
		},
		{
			name:    "idle",
			about:   "+idle: 7,936 connections on which nothing is sent stand beside the 64.",
			loads:   load(config{Conns: 64, Depth: 1, Size: 64}),
			servers: []string{"kcm-uring+idle", "kcm-uring", "kcm-epoll+idle", "kcm-epoll", "net+idle", "net"},
			bases:   []string{"kcm-uring+idle", "kcm-epoll+idle", "net+idle"},
			metrics: []string{"cpu"},
			targets: []target{{of: "kcm-uring+idle", to: "kcm-uring", metric: "cpu", most: 1.2}},
		},
		{
			name:    "garbage",
			about:   "GOMAXPROCS=2; the rate is a third of what the slowest of the servers reaches in a closed loop. +garbage: 100 MiB a second are allocated beside serving, with 64 MiB in use.",
			loads:   load(config{Conns: 64, Depth: 1, Size: 64}),
			share:   1.0 / 3,
			servers: []string{"kcm-uring+two", "kcm-uring+garbage", "net+two", "net+garbage"},
			bases:   []string{"kcm-uring+garbage", "net+garbage"},
			metrics: []string{"p99", "cpu"},
			targets: []target{{of: "kcm-uring+garbage", to: "kcm-uring+two", than: "net+garbage", thanTo: "net+two", metric: "p99", most: 1}},
		},
	}
}

// sectionNames lists them.
func sectionNames() (list []string) {
	for _, s := range sections() {
		list = append(list, s.name)
	}
	return list
}

// chosen returns the sections that only names, all if it is empty.
func chosen(only string) []section {
	all := sections()
	if only == "" {
		return all
	}
	names := strings.Split(only, ",")
	return slices.DeleteFunc(all, func(s section) bool { return !slices.Contains(names, s.name) })
}
