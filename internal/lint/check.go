package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// MaxLines is how many lines a Go file may have.
const MaxLines = 700

// Problem is one broken rule.
type Problem struct {
	File string // relative to the module
	Line int    // 0 if it concerns the whole file
	Text string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Result is what Check found.
type Result struct {
	Problems []Problem // in the order of file and line
	Packages []string  // directories with Go files, relative to the module
}

// Check applies the rules to the tree fsys, the root of the module with the given
// path. The error is that of reading the tree; a file that does not parse is a
// Problem.
func Check(fsys fs.FS, module string) (Result, error) {
	c := checker{fsys: fsys, module: module}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			return nil
		}
		if name != "." && c.skipDir(name) {
			return fs.SkipDir
		}
		return c.dir(name)
	})
	sort.SliceStable(c.res.Problems, func(i, j int) bool {
		a, b := c.res.Problems[i], c.res.Problems[j]
		if a.File != b.File {
			return a.File < b.File
		}
		return a.Line < b.Line
	})
	return c.res, err
}

type checker struct {
	fsys   fs.FS
	module string
	fset   *token.FileSet
	res    Result
}

func (c *checker) skipDir(name string) bool {
	base := path.Base(name)
	if base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_' {
		return true
	}
	_, err := fs.Stat(c.fsys, path.Join(name, "go.mod"))
	return err == nil
}

func (c *checker) report(file string, pos token.Pos, format string, args ...any) {
	p := Problem{File: file, Text: fmt.Sprintf(format, args...)}
	if pos.IsValid() {
		p.Line = c.fset.Position(pos).Line
	}
	c.res.Problems = append(c.res.Problems, p)
}

// dir checks the Go files of one directory.
func (c *checker) dir(dir string) error {
	entries, err := fs.ReadDir(c.fsys, dir)
	if err != nil {
		return err
	}
	c.fset = token.NewFileSet()
	var pkg, docComment string
	var goFiles int
	hasDoc := false
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), ".go") {
			continue
		}
		goFiles++
		name := path.Join(dir, e.Name())
		src, err := fs.ReadFile(c.fsys, name)
		if err != nil {
			return err
		}
		if n := bytes.Count(src, []byte("\n")); n > MaxLines {
			c.report(name, token.NoPos, "has %d lines, more than %d", n, MaxLines)
		}
		f, err := parser.ParseFile(c.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			c.report(name, token.NoPos, "does not parse: %v", err)
			continue
		}
		c.file(dir, name, f)
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		pkg = f.Name.Name
		if e.Name() == "doc.go" {
			hasDoc = true
			docComment = f.Doc.Text()
		}
	}
	if goFiles == 0 {
		return nil
	}
	c.res.Packages = append(c.res.Packages, dir)
	if pkg == "" { // tests alone
		return nil
	}
	c.doc(dir, pkg, hasDoc, docComment)
	if layerOf(dir) == nil {
		c.report(dir, token.NoPos, "is not in the import table")
	}
	return nil
}

func (c *checker) doc(dir, pkg string, hasDoc bool, comment string) {
	want := "Package " + pkg + " "
	if pkg == "main" {
		want = "" // a command's comment begins with its name or purpose
	}
	switch {
	case !hasDoc:
		c.report(dir, token.NoPos, "has no doc.go")
	case comment == "" || !strings.HasPrefix(comment, want):
		c.report(path.Join(dir, "doc.go"), token.NoPos, "has no package comment that begins with %q", want)
	}
}

// unsafeName tells the files in which unsafe may be imported: *_unsafe.go and
// *_unsafe_*.go.
func unsafeName(base string) bool {
	return strings.HasSuffix(base, "_unsafe.go") || strings.Contains(base, "_unsafe_")
}

// oldAtomic matches the functions of sync/atomic that work on plain variables.
var oldAtomic = regexp.MustCompile(`^(Add|And|CompareAndSwap|Load|Or|Store|Swap)(Int32|Int64|Uint32|Uint64|Uintptr|Pointer)$`)

// file checks one parsed file.
func (c *checker) file(dir, name string, f *ast.File) {
	base := path.Base(name)
	test := strings.HasSuffix(base, "_test.go")
	var atomicName, timeName string
	for _, spec := range f.Imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has vetted it
		}
		local := path.Base(imp)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		switch imp {
		case "sync/atomic":
			atomicName = local
		case "time":
			timeName = local
		case "unsafe":
			if !test && !unsafeName(base) {
				c.report(name, spec.Pos(), "imports unsafe, but is not named *_unsafe.go")
			}
		}
		if local == "." && (imp == "sync/atomic" || imp == "time") {
			c.report(name, spec.Pos(), "imports %s by a dot, which hides it from this check", imp)
		}
		if text := importProblem(c.module, dir, imp, test); text != "" {
			c.report(name, spec.Pos(), "%s", text)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		switch {
		case x.Name == atomicName && oldAtomic.MatchString(sel.Sel.Name) && !unsafeName(base):
			c.report(name, sel.Pos(), "uses atomic.%s; use the typed atomics", sel.Sel.Name)
		case test && x.Name == timeName && sel.Sel.Name == "Sleep":
			c.report(name, sel.Pos(), "calls time.Sleep; wait for a condition")
		}
		return true
	})
}
