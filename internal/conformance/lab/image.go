package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Image is a kernel to be booted, in files.
type Image struct {
	Series  string // "6.12"
	Package string // the file it is from: name, version and architecture

	vmlinux string   // path
	modules []string // paths, in the order in which they are loaded
}

// kcmModule is the module that scripts need.
const kcmModule = "kcm"

// Prepare returns the image of the newest kernel of the series, from the directory cache or,
// if it is not there, from apt; then it is left in cache. logf is told what takes long.
func Prepare(ctx context.Context, series, cache string, logf func(format string, args ...any)) (*Image, error) {
	if err := CheckTools(); err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, series)
	if im, err := open(series, dir); err == nil {
		return im, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(cache, series+".new-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	if err := build(ctx, series, tmp, logf); err != nil {
		return nil, fmt.Errorf("lab: Linux %s: %w", series, err)
	}
	// What is at dir was not whole.
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.Rename(filepath.Join(tmp, "image"), dir); err != nil {
		return nil, err
	}
	return open(series, dir)
}

// open returns the image in dir.
func open(series, dir string) (*Image, error) {
	name, err := os.ReadFile(filepath.Join(dir, "package"))
	if err != nil {
		return nil, err
	}
	modules, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	if err != nil {
		return nil, err
	}
	return &Image{
		Series: series, Package: strings.TrimSpace(string(name)),
		vmlinux: filepath.Join(dir, "vmlinux"), modules: modules,
	}, nil
}

// build makes the directory image in tmp.
func build(ctx context.Context, series, tmp string, logf func(string, ...any)) error {
	list, err := output(ctx, tmp, "apt-cache", "search", "--names-only", "^linux-image-"+series)
	if err != nil {
		return err
	}
	pkg, err := newest(list, series)
	if err != nil {
		return err
	}
	logf("downloading %s, about 100 MB", pkg)
	file, err := fetch(ctx, pkg, tmp)
	if err != nil {
		return err
	}
	logf("unpacking the kernel of %s", file)
	tree := filepath.Join(tmp, "tree")
	kernels, err := filepath.Glob(filepath.Join(tree, "boot", "vmlinuz-*"))
	if err != nil || len(kernels) != 1 {
		return fmt.Errorf("%s has %d kernels", file, len(kernels))
	}
	compressed, err := os.ReadFile(kernels[0])
	if err != nil {
		return err
	}
	k, err := vmlinux(ctx, compressed)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(kernels[0]), err)
	}
	mods, err := findModules(ctx, tree, kcmModule)
	if err != nil {
		return err
	}
	dir := filepath.Join(tmp, "image")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "vmlinux"), k, 0o644); err != nil {
		return err
	}
	for i, m := range mods {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d-%s.ko", i, m.name)), m.data, 0o644); err != nil {
			return err
		}
	}
	// The last file: an image without it is not used.
	return os.WriteFile(filepath.Join(dir, "package"), []byte(file+"\n"), 0o644)
}
