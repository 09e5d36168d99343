package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/internal/conformance/lab"
)

// errFailed says that tests failed, which has been told.
var errFailed = errors.New("tests failed")

// packages are those that depend on what the kernel does, and what is between them and users.
const packages = "internal/uapi,affinity,sgmsg,strparser,ring/internal/epoll,ring/internal/uring,ring,mux"

// tree are the directories that tests read: sources and documents.
var tree = []string{"affinity", "docs", "internal", "mux", "ring", "sgmsg", "strparser"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errFailed):
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "oldkernel:", err)
		os.Exit(2)
	}
}

type options struct {
	kernels  []string
	packages []string
	match    string
	cache    string
	verbose  bool
	limit    time.Duration
}

func parseFlags(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("oldkernel", flag.ContinueOnError)
	fs.SetOutput(stderr)
	kernels := fs.String("kernels", "6.1,6.12", "series of the kernels, with commas between them")
	pkgs := fs.String("packages", packages, "directories of the packages, with commas between them")
	fs.StringVar(&o.match, "run", "", "as go test -run")
	fs.StringVar(&o.cache, "cache", "", "directory for kernels; kcm-conformance in the user's cache directory if empty")
	fs.BoolVar(&o.verbose, "v", false, "print all that tests say")
	fs.DurationVar(&o.limit, "limit", 30*time.Minute, "time limit for all tests on one kernel")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	o.kernels, o.packages = strings.Split(*kernels, ","), strings.Split(*pkgs, ",")
	if o.cache == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		o.cache = filepath.Join(cache, "kcm-conformance")
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	logf := func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) }
	load, err := o.load(ctx)
	if err != nil {
		return err
	}
	guest, err := lab.BuildGuest(ctx, o.cache)
	if err != nil {
		return err
	}
	failed := false
	for _, series := range o.kernels {
		im, err := lab.Prepare(ctx, series, o.cache, logf)
		if err != nil {
			return err
		}
		logf("Linux %s (%s)", series, im.Package)
		runCtx, cancel := context.WithTimeout(ctx, o.limit)
		r, err := im.Run(runCtx, guest, load)
		cancel()
		if err != nil {
			return err
		}
		for _, pkg := range o.packages {
			s := summarize(r.Outcomes[pkg])
			s.print(stdout, "Linux "+r.Release, pkg, r.Faults[pkg], o.verbose, r.Outcomes[pkg])
			failed = failed || s.failed > 0 || r.Faults[pkg] != ""
		}
		fmt.Fprintf(stdout, "Linux %s: booted in %.1f s, ran %.1f s\n", r.Release, r.Boot.Seconds(), r.Ran.Seconds())
	}
	if failed {
		return errFailed
	}
	return nil
}

// load builds the tests.
func (o *options) load(ctx context.Context) (lab.Load, error) {
	load := lab.Load{Tree: only{os.DirFS("."), tree}}
	for _, pkg := range o.packages {
		program, err := lab.BuildTest(ctx, o.cache, pkg)
		if err != nil {
			return lab.Load{}, err
		}
		args := []string{"-test.v", "-test.timeout=" + o.limit.String()}
		if o.match != "" {
			args = append(args, "-test.run="+o.match)
		}
		if p := skipPattern(pkg); p != "" {
			args = append(args, "-test.skip="+p)
		}
		load.Tests = append(load.Tests, lab.Test{Package: pkg, Program: program, Args: args})
	}
	return load, nil
}

// only is a file system of which the root has the named directories alone.
type only struct {
	fs.FS
	dirs []string
}

// ReadDir implements [fs.ReadDirFS].
func (o only) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := fs.ReadDir(o.FS, name)
	if name != "." {
		return list, err
	}
	return slices.DeleteFunc(list, func(d fs.DirEntry) bool { return !slices.Contains(o.dirs, d.Name()) }), err
}
