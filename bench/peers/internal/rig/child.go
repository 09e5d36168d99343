package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startLimit is how long a server may take until it listens.
const startLimit = 15 * time.Second

// Child is a process that a Starter started and its user must end: by Wait, or by
// Stop.
type Child struct {
	cmd    *exec.Cmd
	stdout output
	stderr output
	done   chan struct{} // closed when the process has been waited for
	err    error         // its end, valid after done

	stopLimit time.Duration // from SIGTERM to SIGKILL
}

// Starter starts children on one operating system thread that it keeps for
// itself: a child inherits the affinity of the thread, and the kernel kills the
// child if that thread ends, thus also if this program is killed.
type Starter struct{ starts chan func() }

// NewStarter returns a Starter. Close ends it.
func NewStarter() *Starter {
	s := &Starter{make(chan func())}
	go s.run()
	return s
}

// Close ends the Starter's thread, and with it what it started and is still
// there.
func (s *Starter) Close() { close(s.starts) }

// Start runs argv on the given CPU, with env added to the environment.
func (s *Starter) Start(cpu int, env []string, argv ...string) (*Child, error) {
	c := &Child{cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{}), stopLimit: 5 * time.Second}
	c.stdout.init()
	c.stderr.init()
	c.cmd.Stdout, c.cmd.Stderr = &c.stdout, &c.stderr
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.WaitDelay = time.Second
	isolate(c.cmd)
	started := make(chan error)
	s.starts <- func() {
		if err := pinThread(cpu); err != nil {
			started <- err
			return
		}
		started <- c.cmd.Start()
	}
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

// PID is the process id.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Stdout is what the process has printed so far, up to 1 MiB of it.
func (c *Child) Stdout() string {
	text, _ := c.stdout.get()
	return text
}

// Listening waits for the line "listening ADDR" and returns ADDR.
func (c *Child) Listening(ctx context.Context) (string, error) {
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	for {
		text, changed := c.stdout.get()
		for line := range strings.Lines(text) {
			if addr, ok := strings.CutPrefix(line, "listening "); ok && strings.HasSuffix(line, "\n") {
				return strings.TrimSpace(addr), nil
			}
		}
		select {
		case <-changed:
		case <-c.done:
			if _, again := c.stdout.get(); again != changed {
				continue // the line came just before the end
			}
			return "", c.failure("ended before it listened")
		case <-limit.C:
			return "", c.failure(fmt.Sprintf("does not listen after %v", startLimit))
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// Wait waits for the end of the process, at most limit, and ends it otherwise.
// It returns an error unless the exit code is 0.
func (c *Child) Wait(ctx context.Context, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-ctx.Done():
		c.Stop()
		return ctx.Err()
	case <-timer.C:
		c.Stop()
		return c.failure(fmt.Sprintf("still running after %v", limit))
	}
	if c.err != nil {
		return c.failure("failed")
	}
	return nil
}

// Stop ends the process: SIGTERM, and SIGKILL if that does not help. It returns
// an error unless the process ended by itself with exit code 0. A second Stop
// does nothing.
func (c *Child) Stop() error {
	c.cmd.Process.Signal(syscall.SIGTERM)
	limit := time.NewTimer(c.stopLimit)
	defer limit.Stop()
	select {
	case <-c.done:
	case <-limit.C:
		c.cmd.Process.Kill()
		<-c.done
		return c.failure(fmt.Sprintf("ignores SIGTERM for %v", c.stopLimit))
	}
	if c.err != nil {
		return c.failure("failed at its end")
	}
	return nil
}

// failure says what is wrong with the process, with the end of its stderr.
func (c *Child) failure(what string) error {
	msg := c.cmd.Path + ": " + what
	select {
	case <-c.done:
		if c.err != nil {
			msg += ": " + c.err.Error()
		}
	default:
	}
	if text, _ := c.stderr.get(); text != "" {
		text = strings.TrimSpace(text)
		if len(text) > 500 {
			text = "..." + text[len(text)-500:]
		}
		msg += ": " + text
	}
	return errors.New(msg)
}

// output keeps what a process printed, up to a limit, and tells when there is
// more.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed and replaced at every write
}

func (o *output) init() { o.changed = make(chan struct{}) }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.text.Len() < 1<<20 {
		o.text.Write(p)
	}
	close(o.changed)
	o.changed = make(chan struct{})
	return len(p), nil
}

func (o *output) get() (text string, changed <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.changed
}
