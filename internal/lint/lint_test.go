package lint

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/kcm-go/kcm"

// TestProject applies the rules to this module.
func TestProject(t *testing.T) {
	root := os.DirFS("../..")
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(mod, []byte("module "+module+"\n")) {
		t.Fatal("../../go.mod is not that of this module")
	}
	res, err := Check(root, module)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"internal/lint", "internal/uapi", "internal/invariants"} {
		if !slices.Contains(res.Packages, want) {
			t.Errorf("%s was not looked at; seen: %v", want, res.Packages)
		}
	}
	for _, p := range res.Problems {
		t.Error(p)
	}
}

// tree makes a file system of name, content pairs.
func tree(pairs ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return fsys
}

func TestRules(t *testing.T) {
	const sgmsgDoc = "// Package sgmsg is.\npackage sgmsg\n"
	const ringDoc = "// Package ring is.\npackage ring\n"
	const mainDoc = "// Kcmbench measures.\npackage main\n"
	imports := func(pkg string, imps ...string) string {
		s := "package " + pkg + "\n"
		for _, i := range imps {
			s += "import _ \"" + i + "\"\n"
		}
		return s
	}
	for _, c := range []struct {
		name string
		fsys fstest.MapFS
		want []string // the problems, in order
	}{
		{"nothing", tree("README.md", "text"), nil},
		{"good", tree(
			"sgmsg/doc.go", sgmsgDoc,
			"sgmsg/a.go", imports("sgmsg", "errors", module+"/internal/invariants"),
			"ring/doc.go", ringDoc,
			"ring/a_linux.go", imports("ring", "golang.org/x/sys/unix", module+"/sgmsg", module+"/affinity", module+"/internal/uapi", module+"/ring/internal/wheel"),
			"ring/internal/wheel/doc.go", "// Package wheel is.\npackage wheel\n",
			"ring/internal/wheel/a.go", imports("wheel", module+"/sgmsg"),
			"bench/doc.go", "// Package bench is.\npackage bench\n",
			"bench/a.go", imports("bench", module+"/mux", "github.com/HdrHistogram/hdrhistogram-go"),
			"cmd/kcmbench/doc.go", mainDoc,
			"cmd/kcmbench/a.go", imports("main", module+"/bench", module+"/cmd/internal/x"),
		), nil},

		{"import up", tree("sgmsg/doc.go", sgmsgDoc, "sgmsg/a.go", imports("sgmsg", "io", module+"/strparser")),
			[]string{"sgmsg/a.go:3: imports strparser, which is not below sgmsg"}},
		{"import up, other systems too", tree("ring/doc.go", ringDoc, "ring/a_windows.go", imports("ring", module+"/mux")),
			[]string{"ring/a_windows.go:2: imports mux, which is not below ring"}},
		{"mux below ring", tree("mux/doc.go", "// Package mux is.\npackage mux\n", "mux/a.go", imports("mux", module+"/internal/uapi")),
			[]string{"mux/a.go:2: imports internal/uapi, which is not below mux"}},
		{"invariants stands alone", tree("internal/invariants/doc.go", "// Package invariants is.\npackage invariants\n",
			"internal/invariants/a.go", imports("invariants", module+"/internal/uapi")),
			[]string{"internal/invariants/a.go:2: imports internal/uapi, which is not below internal/invariants"}},
		{"a name that only begins alike", tree("sgmsg/doc.go", sgmsgDoc, "sgmsg/a.go", imports("sgmsg", module+"/sgmsgx")),
			[]string{"sgmsg/a.go:2: imports sgmsgx, which is not below sgmsg"}},
		{"program imported", tree("bench/doc.go", "// Package bench is.\npackage bench\n",
			"bench/a.go", imports("bench", module+"/cmd/kcmbench"), "bench/a_test.go", imports("bench", module+"/cmd/kcmbench")),
			[]string{"bench/a.go:2: imports the program cmd/kcmbench", "bench/a_test.go:2: imports the program cmd/kcmbench"}},
		{"foreign module", tree("sgmsg/doc.go", sgmsgDoc, "sgmsg/a.go", imports("sgmsg", "golang.org/x/sys/unix")),
			[]string{"sgmsg/a.go:2: imports golang.org/x/sys/unix, which is not in the table for sgmsg"}},
		{"iouring-go", tree("ring/doc.go", ringDoc, "ring/a.go", imports("ring", "github.com/iceber/iouring-go/syscall"),
			"bench/doc.go", "// Package bench is.\npackage bench\n", "bench/a_test.go", imports("bench", "github.com/iceber/iouring-go")),
			[]string{"bench/a_test.go:2: imports github.com/iceber/iouring-go, which only internal/uapi may",
				"ring/a.go:2: imports github.com/iceber/iouring-go/syscall, which only internal/uapi may"}},
		{"registers itself", tree("ring/doc.go", ringDoc, "ring/a.go", imports("ring", "expvar", "net/http/pprof"), "ring/a_test.go", imports("ring", "expvar"),
			"mux/muxvar/doc.go", "// Package muxvar is.\npackage muxvar\n", "mux/muxvar/a.go", imports("muxvar", "expvar", module+"/mux"),
			"cmd/x/doc.go", mainDoc, "cmd/x/a.go", imports("main", "net/http/pprof")),
			[]string{"ring/a.go:2: imports expvar, which registers itself in http.DefaultServeMux",
				"ring/a.go:3: imports net/http/pprof, which registers itself in http.DefaultServeMux"}},
		{"tests look from above", tree("sgmsg/doc.go", sgmsgDoc, "sgmsg/a_test.go", imports("sgmsg_test", module+"/mux", "go.uber.org/goleak")), nil},
		{"unknown package", tree("extra/doc.go", "// Package extra is.\npackage extra\n"),
			[]string{"extra: is not in the import table"}},

		{"unsafe", tree("ring/doc.go", ringDoc,
			"ring/queue.go", imports("ring", "unsafe"), "ring/unsafely.go", imports("ring", "unsafe"),
			"ring/queue_unsafe.go", imports("ring", "unsafe"), "ring/queue_unsafe_linux.go", imports("ring", "unsafe"),
			"ring/queue_test.go", imports("ring", "unsafe")),
			[]string{"ring/queue.go:2: imports unsafe, but is not named *_unsafe.go",
				"ring/unsafely.go:2: imports unsafe, but is not named *_unsafe.go"}},
		{"cgo", tree("ring/doc.go", ringDoc, "ring/a.go", "package ring\n\nimport \"C\"\n"),
			[]string{"ring/a.go:3: uses cgo"}},

		{"plain atomics", tree("ring/doc.go", ringDoc,
			"ring/a.go", "package ring\nimport \"sync/atomic\"\nvar n int32\nvar v atomic.Int32\nvar p atomic.Pointer[int]\nfunc f() {\n\tatomic.AddInt32(&n, 1)\n\tv.Add(1)\n}\n",
			"ring/b_test.go", "package ring\nimport a \"sync/atomic\"\nvar m uint64\nvar load = a.LoadUint64\n",
			"ring/c_unsafe.go", "package ring\nimport \"sync/atomic\"\nfunc g() { atomic.StoreInt32(&n, 1) }\n",
			"ring/d.go", "package ring\nimport . \"sync/atomic\"\n"),
			[]string{"ring/a.go:7: uses atomic.AddInt32; use the typed atomics",
				"ring/b_test.go:4: uses atomic.LoadUint64; use the typed atomics",
				"ring/d.go:2: imports sync/atomic by a dot, which hides it from this check"}},

		{"no doc.go", tree("sgmsg/a.go", "// Package sgmsg is.\npackage sgmsg\n"),
			[]string{"sgmsg: has no doc.go"}},
		{"empty doc.go", tree("sgmsg/doc.go", "package sgmsg\n", "cmd/x/doc.go", "package main\n"),
			[]string{`cmd/x/doc.go: has no package comment that begins with ""`,
				`sgmsg/doc.go: has no package comment that begins with "Package sgmsg "`}},
		{"comment apart", tree("sgmsg/doc.go", "// Package sgmsg is.\n\npackage sgmsg\n"),
			[]string{`sgmsg/doc.go: has no package comment that begins with "Package sgmsg "`}},
		{"tests alone", tree("sgmsg/a_test.go", "package sgmsg\n"), nil},

		{"long", tree("sgmsg/doc.go", sgmsgDoc, "sgmsg/a.go", "package sgmsg\n"+strings.Repeat("\n", MaxLines),
			"sgmsg/b.go", "package sgmsg\n"+strings.Repeat("\n", MaxLines-1)),
			[]string{"sgmsg/a.go: has 701 lines, more than 700"}},

		{"sleep", tree("ring/doc.go", ringDoc,
			"ring/a.go", "package ring\nimport \"time\"\nfunc f() { time.Sleep(1) }\n",
			"ring/a_test.go", "package ring\nimport \"time\"\nfunc g() { time.Sleep(1) }\nvar h = time.Sleep\n",
			"ring/b_test.go", "package ring\nimport clock \"time\"\nfunc i() { clock.Sleep(1); <-clock.After(1) }\n"),
			[]string{"ring/a_test.go:3: calls time.Sleep; wait for a condition",
				"ring/a_test.go:4: calls time.Sleep; wait for a condition",
				"ring/b_test.go:3: calls time.Sleep; wait for a condition"}},

		{"does not parse", tree("sgmsg/doc.go", sgmsgDoc, "sgmsg/a.go", "package sgmsg\nfunc {\n"),
			[]string{"sgmsg/a.go: does not parse: sgmsg/a.go:2:6: expected 'IDENT', found '{'"}},
		{"left out", tree(
			"go.mod", "module "+module+"\n",
			"bench/peers/go.mod", "module "+module+"/bench/peers\n", "bench/peers/a.go", imports("peers", "unsafe", "C"),
			"bench/peers/deep/a.go", imports("deep", "unsafe"),
			"sgmsg/testdata/a.go", "not Go", ".hidden/a.go", "not Go", "_old/a.go", "not Go", "vendor/x/a.go", "not Go"), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, err := Check(c.fsys, module)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range res.Problems {
				got = append(got, p.String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(c.want, "\n\t"))
			}
		})
	}
}

// TestTable keeps the import table itself free of upward steps: what a line allows
// must not allow the line's own packages in turn.
func TestTable(t *testing.T) {
	for _, l := range layers {
		own := strings.TrimSuffix(l.dir, "/...")
		for _, p := range l.packages {
			if p == "..." || p == "internal/..." {
				continue
			}
			below := layerOf(strings.TrimSuffix(p, "/..."))
			if below == nil {
				t.Errorf("%s may import %s, which has no line", l.dir, p)
			} else if matchesAny(below.packages, own) {
				t.Errorf("%s and %s may import each other", l.dir, p)
			}
		}
	}
}
