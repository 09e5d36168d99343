// Package rigtest stands in for kcmbench in tests of programs that use package
// rig: the test binary itself plays it when it is started as a child.
//
//	func TestMain(m *testing.M) { rigtest.Main(m) }
//
//	bin, processes := rigtest.Fake(t, "ok")
//	... run the program with -kcmbench bin ...
//	rigtest.CheckGone(t, processes())
package rigtest

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/bench/peers/echo"
)

// The value of faultEnv, if set, is what should go wrong. A line with the process
// id and the arguments of every process goes to the file that logEnv names.
const (
	faultEnv = "RIGTEST_FAULT"
	logEnv   = "RIGTEST_LOG"
)

// Main runs the tests, or plays kcmbench, and exits.
func Main(m *testing.M) {
	fault := os.Getenv(faultEnv)
	if fault == "" || len(os.Args) < 2 || strings.HasPrefix(os.Args[1], "-test.") {
		os.Exit(m.Run())
	}
	if err := play(fault, os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "fake kcmbench:", err)
		os.Exit(1)
	}
}

// Fake prepares the environment for a fake kcmbench and returns its path and a
// function that lists the processes that were started: id, then arguments. fault
// is "ok", or one of these:
//
//	"no uring"                 a server with -backend uring does not start
//	"no features"              a server with -features does not start
//	"server fails at its end"
//	"generator fails"
//	"generator hangs"
//	"generator counts errors"
//	"behind"                   servers lose messages at 10,000 per second or more
func Fake(t *testing.T, fault string) (path string, processes func() [][]string) {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	t.Setenv(faultEnv, fault)
	t.Setenv(logEnv, log)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // a race build sleeps a second at its end
	return path, func() [][]string {
		b, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		var list [][]string
		for line := range strings.Lines(string(b)) {
			list = append(list, strings.Fields(line))
		}
		return list
	}
}

// CheckGone checks that no process of the list is left.
func CheckGone(t *testing.T, processes [][]string) {
	t.Helper()
	for _, p := range processes {
		if _, err := os.Stat("/proc/" + p[0]); err == nil {
			t.Errorf("process %s is still there: %s", p[0], strings.Join(p[1:], " "))
		}
	}
}

func play(fault, command string, args []string) error {
	if name := os.Getenv(logEnv); name != "" {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		fmt.Fprintln(f, os.Getpid(), command, strings.Join(args, " "))
		f.Close()
	}
	switch command {
	case "serve":
		return serve(fault, args)
	case "run":
		return generate(fault, args)
	case "ideal":
		return ideal(args)
	}
	return fmt.Errorf("no command %q", command)
}

func serve(fault string, args []string) error {
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	listen := f.String("listen", "", "")
	backend := f.String("backend", "", "")
	f.Int("loops", 0, "")
	f.Duration("spin", 0, "")
	f.Bool("pin", false, "")
	f.String("max-message", "", "")
	workers := f.Int("workers", 0, "")
	f.String("policy", "", "")
	order := f.Bool("order", true, "")
	work := f.String("work", "", "")
	f.String("garbage", "", "")
	features := f.String("features", "", "")
	if err := f.Parse(args); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if fault == "no uring" && *backend == "uring" {
		return errors.New("io_uring_setup: operation not permitted")
	}
	if fault == "no features" && *features != "" {
		return errors.New("no such feature")
	}
	engine := "net"
	if !*order {
		engine = "netpool"
	}
	s, err := echo.Listen(engine, *listen, echo.Options{Workers: *workers, Work: *work == "message"})
	if err != nil {
		return err
	}
	fmt.Println("listening", s.Addr())
	<-stop
	if fault == "server fails at its end" {
		return errors.New("a leak")
	}
	return nil
}

// ideal says that quick messages wait 7 us at the 99th percentile.
func ideal(args []string) error {
	f := flag.NewFlagSet("ideal", flag.ContinueOnError)
	l := defineLoad(f)
	f.Int("workers", 0, "")
	f.String("discipline", "", "")
	if err := f.Parse(args); err != nil {
		return err
	}
	var classes []any
	for _, c := range l.classes() {
		classes = append(classes, map[string]any{"name": c.name, "waiting_us": map[string]float64{"p99": 7}})
	}
	return write(*l.file, map[string]any{"disciplines": []any{
		map[string]any{"discipline": "ps", "classes": []any{}},
		map[string]any{"discipline": "fcfs", "classes": classes},
	}})
}

func write(file string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o600)
}
