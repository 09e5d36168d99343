package lab

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// module is a kernel module, uncompressed.
type module struct {
	name string
	data []byte
}

// moduleName returns the name of a module from that of its file, "" if it is none.
func moduleName(file string) string {
	base := filepath.Base(file)
	name, _, ok := strings.Cut(base, ".ko")
	if !ok {
		return ""
	}
	return strings.ReplaceAll(name, "-", "_")
}

// depends returns the names of the modules that must be loaded before the one in data.
func depends(data []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("no .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	return parseDepends(info), nil
}

// parseDepends reads the section .modinfo: strings NAME=VALUE that end with 0.
func parseDepends(info []byte) []string {
	for _, s := range strings.Split(string(info), "\x00") {
		if list, ok := strings.CutPrefix(s, "depends="); ok && list != "" {
			return strings.Split(list, ",")
		}
	}
	return nil
}

// findModules returns the module and those it needs from the tree dir, in the order in which
// they are to be loaded.
func findModules(ctx context.Context, dir, name string) ([]module, error) {
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if n := moduleName(path); n != "" {
				files[n] = path
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var found []module
	seen := make(map[string]bool)
	var add func(name string) error
	add = func(name string) error {
		name = strings.ReplaceAll(name, "-", "_")
		if seen[name] {
			return nil
		}
		seen[name] = true
		path, ok := files[name]
		if !ok {
			return fmt.Errorf("no module %s in %s", name, dir)
		}
		data, err := os.ReadFile(path)
		if err == nil && filepath.Ext(path) != ".ko" {
			data, err = decompress(ctx, data)
		}
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		needs, err := depends(data)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		for _, n := range needs {
			if err := add(n); err != nil {
				return err
			}
		}
		found = append(found, module{name, data})
		return nil
	}
	return found, add(name)
}
