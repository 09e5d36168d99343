package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

func main() {
	addr := flag.String("listen", "127.0.0.1:7000", "`address` to accept connections on, unless a listener is inherited")
	flag.Parse()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, os.Interrupt, syscall.SIGTERM)
	if err := run(signals, *addr, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "restart:", err)
		os.Exit(1)
	}
}

const (
	drainTime = 5 * time.Second  // that peers have to finish
	startTime = 10 * time.Second // that a new process has to be ready
)

// run serves until it is told to end, or a new process serves in its place.
func run(signals <-chan os.Signal, addr string, out io.Writer) error {
	ln, err := listen(addr)
	if err != nil {
		return err
	}
	m, err := mux.New(mux.Options{Format: strparser.Length32})
	if err != nil {
		return err
	}
	defer m.Close()
	m.Handle(func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
		from.Send(msg)
		return mux.Done
	})
	served := make(chan error, 1)
	go func() { served <- m.Serve(ln) }()
	fmt.Fprintf(out, "process %d listening %v\n", os.Getpid(), ln.Addr())
	if err := ready(); err != nil {
		return err
	}

	replaced := false
	for ending := false; !ending; {
		select {
		case err := <-served: // the listener has failed
			return err
		case s := <-signals:
			if s != syscall.SIGHUP {
				ending = true
			} else if err := replace(ln); err != nil {
				fmt.Fprintln(out, "goes on:", err)
			} else {
				ending, replaced = true, true
			}
		}
	}
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if replaced {
		if err := m.Retire(drain); err != nil { // some peers stay
			var more context.CancelFunc
			drain, more = context.WithTimeout(context.Background(), drainTime)
			defer more()
		}
	}
	err = m.Shutdown(drain)
	if e := <-served; !errors.Is(e, mux.ErrClosed) {
		return e
	}
	fmt.Fprintf(out, "process %d ends\n", os.Getpid())
	return err
}

// listen returns the listener that the process was started with, or a new one.
func listen(addr string) (net.Listener, error) {
	lns, err := mux.InheritedListeners()
	if err != nil {
		return nil, err
	}
	if len(lns) > 0 {
		return lns[0], nil
	}
	return net.Listen("tcp", addr)
}

// envReady is the variable with the descriptor on which a new process says that it serves.
const envReady = "RESTART_READY"

// replace starts a new process with the listener and waits until it serves.
func replace(ln net.Listener) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(program, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := mux.HandOver(cmd, ln); err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err == nil {
		defer r.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, w)
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", envReady, 2+len(cmd.ExtraFiles)))
		err = cmd.Start()
	}
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
	if err != nil {
		return err
	}
	if err := r.SetReadDeadline(time.Now().Add(startTime)); err != nil {
		return err
	}
	if _, err := r.Read(make([]byte, 1)); err != nil { // it has ended, or hangs
		_ = cmd.Process.Kill() // it may have ended: Wait says how
		return fmt.Errorf("process %d is not ready: %w: %v", cmd.Process.Pid, err, cmd.Wait())
	}
	return cmd.Process.Release() // it outlives us
}

// ready tells the process that started this one, if it waits for that.
func ready() error {
	var fd int
	if _, err := fmt.Sscan(os.Getenv(envReady), &fd); err != nil {
		return nil // nobody waits
	}
	os.Unsetenv(envReady)
	f := os.NewFile(uintptr(fd), "ready")
	defer f.Close()
	_, err := f.WriteString("\n")
	return err
}
