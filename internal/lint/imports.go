package lint

import "strings"

// layer is one line of the import table: what the packages matching dir may import
// besides the standard library and their own subtree. Patterns are paths relative to
// the module; "x/..." is x and all below it, "..." is everything.
type layer struct {
	dir      string
	packages []string // of this module
	external []string // of other modules
}

const (
	xsys    = "golang.org/x/sys/..."
	iouring = "github.com/iceber/iouring-go/..."
)

// layers is the import table. The longest matching dir applies to a package. No line
// names cmd: programs are at the top.
var layers = []layer{
	{dir: "internal/...", packages: []string{"internal/..."}},
	{dir: "internal/budget"},
	{dir: "internal/conformance"},
	{dir: "internal/conformance/guest", packages: []string{"internal/conformance/..."}, external: []string{xsys}},
	{dir: "internal/conformance/figures", packages: []string{"internal/conformance"}},
	{dir: "internal/conformance/kernel", packages: []string{"internal/conformance", "internal/conformance/figures", "internal/conformance/lowers"}, external: []string{xsys}},
	{dir: "internal/conformance/lab", packages: []string{"internal/conformance"}},
	{dir: "internal/conformance/lowers", packages: []string{"internal/conformance"}, external: []string{xsys}},
	{dir: "internal/conformance/muxengine", packages: []string{"internal/conformance", "internal/conformance/figures", "internal/conformance/lowers",
		"mux", "ring", "sgmsg", "strparser/..."},
		external: []string{xsys, "golang.org/x/net/bpf"}},
	{dir: "internal/invariants"},
	{dir: "internal/leak", external: []string{"go.uber.org/goleak"}},
	{dir: "internal/lint"},
	{dir: "internal/watch"},
	{dir: "internal/uapi", packages: []string{"internal/invariants"}, external: []string{xsys, iouring}},

	{dir: "sgmsg/...", packages: []string{"internal/invariants"}},
	{dir: "strparser/...", packages: []string{"sgmsg", "internal/invariants"}},
	{dir: "strparser/cbpf", packages: []string{"strparser", "sgmsg", "internal/invariants"}, external: []string{"golang.org/x/net/bpf"}},
	{dir: "strparser/formats", packages: []string{"strparser", "sgmsg"}},
	{dir: "strparser/internal/feed", packages: []string{"strparser", "sgmsg"}},
	{dir: "affinity/...", packages: []string{"internal/uapi", "internal/invariants"},
		external: []string{xsys, "github.com/klauspost/cpuid/..."}},
	{dir: "ring/...", packages: []string{"sgmsg", "affinity", "internal/budget", "internal/invariants", "internal/uapi", "internal/watch"}, external: []string{xsys}},

	{dir: "internal/park"},
	{dir: "mux/...", packages: []string{"ring", "strparser", "sgmsg", "affinity", "internal/budget", "internal/invariants", "internal/park", "internal/watch"},
		external: []string{xsys}},
	{dir: "mux/muxvar", packages: []string{"mux"}},
	{dir: "sockmap/...", packages: []string{"ring", "strparser", "sgmsg", "affinity", "internal/invariants"}},
	{dir: "rxrpc/...", packages: []string{"ring", "strparser", "sgmsg", "affinity", "internal/invariants"}},

	{dir: ".", packages: []string{"..."}, external: []string{"..."}},
	{dir: "examples/...", packages: []string{"..."}, external: []string{"..."}},
	{dir: "bench/...", packages: []string{"..."}, external: []string{"..."}},
	{dir: "cmd/...", packages: []string{"..."}, external: []string{"..."}},
}

// programs are the packages that are not libraries.
var programs = []string{"cmd/...", "examples/...", "bench/..."}

// matches reports whether the path p fits the pattern.
func matches(pattern, p string) bool {
	if pattern == "..." {
		return true
	}
	if root, ok := strings.CutSuffix(pattern, "/..."); ok {
		return p == root || strings.HasPrefix(p, root+"/")
	}
	return p == pattern
}

func matchesAny(patterns []string, p string) bool {
	for _, pattern := range patterns {
		if matches(pattern, p) {
			return true
		}
	}
	return false
}

// layerOf returns the line for the package in dir, nil if there is none.
func layerOf(dir string) *layer {
	var best *layer
	for i := range layers {
		if l := &layers[i]; matches(l.dir, dir) && (best == nil || len(l.dir) > len(best.dir)) {
			best = l
		}
	}
	return best
}

// importProblem says what is wrong with the package in dir importing imp, "" if
// nothing is. module is the path of the module.
func importProblem(module, dir, imp string, test bool) string {
	local := imp == module || strings.HasPrefix(imp, module+"/")
	switch {
	case imp == "C":
		return "uses cgo"
	case imp == "unsafe":
		return "" // judged by the file's name
	case (imp == "expvar" || imp == "net/http/pprof") && dir != "mux/muxvar" && !test && !matchesAny(programs, dir):
		return "imports " + imp + ", which registers itself in http.DefaultServeMux"
	case matches(iouring, imp) && dir != "internal/uapi":
		return "imports " + imp + ", which only internal/uapi may"
	case local:
		rel := "."
		if imp != module {
			rel = imp[len(module)+1:]
		}
		if matches("cmd/...", rel) && !matches("cmd/...", dir) {
			return "imports the program " + rel
		}
		if test {
			return ""
		}
		l := layerOf(dir)
		if l == nil {
			return "" // reported once for the package
		}
		own := strings.TrimSuffix(l.dir, "/...")
		if !matches(own+"/...", rel) && !matchesAny(l.packages, rel) {
			return "imports " + rel + ", which is not below " + own
		}
	case strings.Contains(strings.SplitN(imp, "/", 2)[0], "."): // another module
		if test {
			return ""
		}
		if l := layerOf(dir); l != nil && !matchesAny(l.external, imp) {
			return "imports " + imp + ", which is not in the table for " + strings.TrimSuffix(l.dir, "/...")
		}
	}
	return ""
}
