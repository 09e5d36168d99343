package lab

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Load is what a virtual machine runs, the scripts first.
type Load struct {
	Scripts map[string]string // of internal/conformance, by name
	Tests   []Test            // in their order
	Tree    fs.FS             // what tests find in and around their directories; nil for nothing
}

// Test is a test program, as go test -c makes them. It is run in the directory of its package,
// below the tree.
type Test struct {
	Package string   // its directory in the module, with slashes; the report has its lines by this name
	Program string   // path of its file
	Args    []string // each without line ends
}

// megabytes is how much memory the machine needs. Tests come with large files, which stay in
// memory.
func (l Load) megabytes() string {
	if l.Tests != nil {
		return "2048"
	}
	return "512"
}

// initrd returns the archive that the kernel unpacks to its root: the guest program as /init, the
// modules, the scripts, by name, and the tests. The tree is at /src; each test's program is in
// its directory there, as kcm.test, with its arguments in kcm.args. /tests has the directories
// of the tests in their order.
func (im *Image) initrd(guest string, load Load) ([]byte, error) {
	var b bytes.Buffer
	a := archive{w: &b}
	for _, d := range []string{"dev", "proc", "sys", "tmp", "modules", "scripts"} {
		a.dir(d)
	}
	a.char("dev/console", 5, 1) // the kernel opens it for the first process
	if err := a.copy("init", guest); err != nil {
		return nil, err
	}
	for _, m := range im.modules {
		if err := a.copy("modules/"+filepath.Base(m), m); err != nil {
			return nil, err
		}
	}
	for name, text := range load.Scripts {
		a.file("scripts/"+name+".txt", []byte(text))
	}
	if err := a.tests(load); err != nil {
		return nil, err
	}
	if err := a.close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// tests adds the tests of the load, and the tree.
func (a *archive) tests(load Load) error {
	dirs := []string{"src"}
	files := map[string][]byte{}
	if load.Tree != nil {
		err := fs.WalkDir(load.Tree, ".", func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil || name == ".":
			case d.IsDir():
				dirs = append(dirs, "src/"+name)
			case d.Type().IsRegular():
				files["src/"+name], err = fs.ReadFile(load.Tree, name)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	var list strings.Builder
	for _, t := range load.Tests {
		for d := path.Join("src", t.Package); d != "src"; d = path.Dir(d) {
			dirs = append(dirs, d)
		}
		list.WriteString(t.Package + "\n")
	}
	slices.Sort(dirs) // each after the one that it is in
	for _, d := range slices.Compact(dirs) {
		a.dir(d)
	}
	for name, data := range files {
		a.file(name, data)
	}
	for _, t := range load.Tests {
		dir := path.Join("src", t.Package)
		if err := a.copy(dir+"/kcm.test", t.Program); err != nil {
			return err
		}
		a.file(dir+"/kcm.args", []byte(strings.Join(t.Args, "\n")))
	}
	a.file("tests", []byte(list.String()))
	return nil
}

// copy adds the file at path.
func (a *archive) copy(name, path string) error {
	data, err := os.ReadFile(path)
	if err == nil {
		a.file(name, data)
	}
	return err
}
