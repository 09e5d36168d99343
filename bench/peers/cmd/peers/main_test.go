//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/bench/peers/echo"
)

// fakeEnv, if set, makes the test binary behave as kcmbench does towards this
// program. Its value is what should go wrong, or "ok". A line with the process
// id and the arguments of every such process goes to the file fakeLog names.
const (
	fakeEnv = "PEERS_TEST_KCMBENCH"
	fakeLog = "PEERS_TEST_LOG"
)

func TestMain(m *testing.M) {
	fault := os.Getenv(fakeEnv)
	if fault == "" || len(os.Args) < 2 || strings.HasPrefix(os.Args[1], "-test.") {
		os.Exit(m.Run())
	}
	if err := fakeKcmbench(fault, os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "fake kcmbench:", err)
		os.Exit(1)
	}
}

func fakeKcmbench(fault, command string, args []string) error {
	if name := os.Getenv(fakeLog); name != "" {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		fmt.Fprintln(f, os.Getpid(), command, strings.Join(args, " "))
		f.Close()
	}
	switch command {
	case "serve":
		return fakeServe(fault, args)
	case "run":
		return fakeRun(fault, args)
	}
	return fmt.Errorf("no command %q", command)
}

func fakeServe(fault string, args []string) error {
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	listen := f.String("listen", "", "")
	backend := f.String("backend", "", "")
	loops := f.Int("loops", 0, "")
	f.Duration("spin", time.Second, "")
	pin := f.Bool("pin", false, "")
	maximum := f.String("max-message", "", "")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *loops != 1 || !*pin || *maximum != "16MiB" {
		return fmt.Errorf("unexpected arguments %q", args)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if fault == "no uring" && *backend == "uring" {
		return fmt.Errorf("io_uring_setup: operation not permitted")
	}
	s, err := echo.Listen("net", *listen)
	if err != nil {
		return err
	}
	fmt.Println("listening", s.Addr())
	<-stop
	if fault == "server fails at its end" {
		return fmt.Errorf("a leak")
	}
	return nil
}

// fakeRun is the simplest generator: each connection sends depth messages, then
// reads depth replies, and so on.
func fakeRun(fault string, args []string) error {
	f := flag.NewFlagSet("run", flag.ContinueOnError)
	target := f.String("target", "", "")
	conns := f.Int("conns", 0, "")
	depth := f.Int("depth", 0, "")
	size := f.Int("size", 0, "")
	duration := f.Duration("duration", 0, "")
	warmup := f.Duration("warmup", 0, "")
	file := f.String("json", "", "")
	if err := f.Parse(args); err != nil {
		return err
	}
	switch fault {
	case "generator fails":
		return fmt.Errorf("no luck")
	case "generator hangs":
		select {}
	}
	frame := make([]byte, echo.HeaderLen+*size)
	binary.BigEndian.PutUint32(frame, uint32(*size))
	var total, measured atomic.Int64
	start := time.Now()
	var wg sync.WaitGroup
	for range *conns {
		c, err := net.Dial("tcp", *target)
		if err != nil {
			return err
		}
		defer c.Close()
		wg.Go(func() {
			r := bufio.NewReader(c)
			for time.Since(start) < *warmup+*duration {
				for range *depth {
					c.Write(frame)
				}
				if _, err := io.CopyN(io.Discard, r, int64(*depth*len(frame))); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				total.Add(int64(*depth))
				if time.Since(start) > *warmup {
					measured.Add(int64(*depth))
				}
			}
		})
	}
	wg.Wait()
	errors := 0
	if fault == "generator counts errors" {
		errors = 3
	}
	b, err := json.Marshal(map[string]any{
		"messages":            measured.Load(),
		"messages_total":      total.Load(),
		"messages_per_second": float64(measured.Load()) / duration.Seconds(),
		"errors":              errors,
	})
	if err != nil {
		return err
	}
	return os.WriteFile(*file, b, 0o600)
}
