// Peer runs one echo server of package echo in a process of its own, so that
// its CPU time can be told from the rest.
//
//	peer -engine net -listen 127.0.0.1:0 -procs 1
//
// It prints "listening ADDR" once it accepts, and ends at SIGTERM or SIGINT
// with exit code 0 after a line "cpu_user_us=N cpu_sys_us=N".
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/kcm-go/kcm/bench"
	"github.com/kcm-go/kcm/bench/peers/echo"
)

func main() {
	engine := flag.String("engine", "net", "network engine: "+strings.Join(slices.Concat(echo.Engines(), echo.Dispatchers()), ", "))
	listen := flag.String("listen", "127.0.0.1:0", "TCP `address` to accept on")
	procs := flag.Int("procs", 0, "GOMAXPROCS; 0 leaves it to the runtime")
	workers := flag.Int("workers", 4, "messages handled at a time by "+strings.Join(echo.Dispatchers(), ", "))
	garbage := flag.Int("garbage", 0, "`bytes` per second to allocate beside serving")
	work := flag.String("work", "", "\"message\" has workers spend the time a message asks for; empty only echoes")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "peer: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if *workers < 1 {
		fmt.Fprintf(os.Stderr, "peer: -workers %d: want at least 1\n", *workers)
		os.Exit(2)
	}
	if *work != "" && *work != "message" {
		fmt.Fprintf(os.Stderr, "peer: -work %q: want message, or nothing\n", *work)
		os.Exit(2)
	}
	if *procs > 0 {
		runtime.GOMAXPROCS(*procs)
	}
	if *garbage > 0 {
		bench.StartGarbage(*garbage) // until the process ends
	}
	if err := run(*engine, *listen, echo.Options{Workers: *workers, Work: *work != ""}); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func run(engine, listen string, o echo.Options) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	s, err := echo.Listen(engine, listen, o)
	if err != nil {
		return err
	}
	fmt.Println("listening", s.Addr())
	<-stop
	// Not Close: some engines take seconds to end, and the process ends anyway.
	user, sys, err := cpuMicros()
	if err != nil {
		return err
	}
	fmt.Printf("cpu_user_us=%d cpu_sys_us=%d\n", user, sys)
	return nil
}
