package main

import (
	"strings"

	"github.com/kcm-go/kcm/ring"
)

// feature is something of the library that a flag of kcmbench serve switches.
type feature struct {
	name   string
	args   []string // what makes it other than the default
	base   string   // the default in one word
	other  string   // and what args make of it
	single bool     // only of interest to a message alone
}

// features are those of ring.Options.Features, by their names there, and options that
// trade as they do. A switch is listed once the library has it. Nothing is the default
// against itself: what its ratio is off 1 by, the others may be too.
var features = []feature{
	{name: "nothing", base: "as it is", other: "the same"},
	switchOff("defer-taskrun"),
	switchOff("no-sqarray"),
	switchOff("registered-ring"),
	switchOff("fixed-buffers"),
	switchOff("recv-limit"),
	switchOff("ring-wake"),
	switchOff("huge-pages"),
	switchOff("short-slice"),
	switchOff("vectored-send"),
	{name: "spin", args: []string{"-spin", "50us"}, base: "off", other: "50us", single: true},
}

func switchOff(name string) feature {
	return feature{name: name, args: []string{"-features", name + "=off"}, base: "on", other: "off"}
}

// library says what the library makes of the feature.
func (f feature) library() string {
	if f.args == nil {
		return "-"
	}
	return "default " + f.base
}

func featureNames() []string {
	var names []string
	for _, f := range features {
		names = append(names, f.name)
	}
	return names
}

func featureOf(name string) feature {
	for _, f := range features {
		if f.name == name {
			return f
		}
	}
	panic("no feature " + name) // rig.Choose has checked it
}

// probed returns what the kernel says of a feature, by the name of its switch: "-" and
// true for what no probe is about.
func probed(probe []ring.Feature, name string) (since string, offered bool) {
	for _, p := range probe {
		if strings.NewReplacer("_", "-", " ", "-").Replace(strings.ToLower(p.Name)) == name {
			return p.Since, p.State != "no"
		}
	}
	return "-", true
}
