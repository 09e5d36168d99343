package mux

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Listening sockets come into a process at its start, and leave it to one that it starts:
//
//	systemd ----LISTEN_PID---.
//	                          >-- descriptors 3, 4, ... --> InheritedListeners -> Serve
//	HandOver -KCM_LISTEN_PPID'
//
// The variables say for whom the descriptors are, as other programs would take them for
// something else: LISTEN_PID is the number of that process; who starts one cannot know
// it before, so HandOver gives the number of the process that starts it. See
// sd_listen_fds(3).
const (
	envPID     = "LISTEN_PID"
	envPIDFD   = "LISTEN_PIDFDID" // the same, safe from numbers that come again: not looked at
	envCount   = "LISTEN_FDS"
	envNames   = "LISTEN_FDNAMES"
	envStarter = "KCM_LISTEN_PPID"

	firstInherited = 3
	nameless       = "unknown" // what sd_listen_fds_with_names(3) calls those
)

var inheritance = []string{envPID, envPIDFD, envCount, envNames, envStarter}

// InheritedListener is a listening socket that the process was started with. Serve and
// HandOver take it as it is.
type InheritedListener struct {
	// Name is what the socket is called by whoever started the process (systemd's
	// FileDescriptorName); "unknown" without.
	Name         string
	net.Listener // a *net.TCPListener or *net.UnixListener, whose path Close leaves alone
}

// SyscallConn implements [syscall.Conn] with the socket's.
func (l InheritedListener) SyscallConn() (syscall.RawConn, error) {
	sc, ok := l.Listener.(syscall.Conn)
	if !ok {
		return nil, notListener(l.Listener)
	}
	return sc.SyscallConn()
}

func notListener(ln net.Listener) error {
	return fmt.Errorf("%T is neither a *net.TCPListener nor a *net.UnixListener: %w", ln, syscall.EOPNOTSUPP)
}

// InheritedListeners returns the listening sockets that the process was started with, by
// systemd's socket activation (LISTEN_FDS and so on: sd_listen_fds(3)) or by HandOver, in
// the order of their descriptors; none when it was started in another way, or the variables
// are for another process. It takes the variables out of the environment, so that no child
// of ours takes them for its own, and a second call returns none; the descriptors become
// close-on-exec.
//
// Errors: EINVAL for a number that is none, and names that are not as many as descriptors;
// EBADF, ENOTSOCK, EINVAL and EOPNOTSUPP for a descriptor that is not open, is not a
// socket, does not listen, or is of another kind than TCP and unix stream. Then the
// descriptors are as they were. Call it before anything opens or closes descriptors by
// number.
func InheritedListeners() ([]InheritedListener, error) {
	names, err := inherited(os.LookupEnv, os.Getpid(), os.Getppid())
	for _, v := range inheritance {
		_ = os.Unsetenv(v) // fails only for names that are none
	}
	if err == nil {
		return adoptListeners(firstInherited, names)
	}
	return nil, fmt.Errorf("inherit: %w", err)
}

// inherited returns the names of the descriptors that are for process pid, started by
// ppid.
func inherited(env func(string) (string, bool), pid, ppid int) (names []string, err error) {
	number := func(name string) (n int, ok bool, err error) {
		s, ok := env(name)
		if !ok {
			return 0, false, nil
		}
		if n, err = strconv.Atoi(s); err != nil || n <= 0 {
			return 0, false, fmt.Errorf("%s is %q, want a positive number: %w", name, s, syscall.EINVAL)
		}
		return n, true, nil
	}
	to, ok, err := number(envPID)
	if err == nil && !ok {
		pid = ppid
		to, ok, err = number(envStarter)
	}
	if err != nil || !ok || to != pid {
		return nil, err
	}
	n, ok, err := number(envCount)
	if err != nil || !ok {
		return nil, err
	}
	s, ok := env(envNames)
	if !ok {
		s = strings.Repeat(":"+nameless, min(n, maxInherited))[1:]
	}
	names = strings.Split(s, ":")
	if n > maxInherited || len(names) != n {
		return nil, fmt.Errorf("%s is %d and %s has %d names: %w", envCount, n, envNames, len(names), syscall.EINVAL)
	}
	return names, nil
}

// maxInherited bounds what a wrong number can cost.
const maxInherited = 1 << 16

// adoptListeners makes listeners of the descriptors from first on.
func adoptListeners(first int, names []string) ([]InheritedListener, error) {
	for i, name := range names {
		if err := checkListener(first + i); err != nil {
			return nil, fmt.Errorf("inherit: descriptor %d (%s): %w", first+i, name, err)
		}
	}
	var lns []InheritedListener
	for i, name := range names {
		ln, err := adoptListener(first+i, name)
		if err != nil { // there are no descriptors left, for one
			for _, ln := range lns {
				_ = ln.Close() // err says more
			}
			return nil, fmt.Errorf("inherit: descriptor %d (%s): %w", first+i, name, err)
		}
		lns = append(lns, InheritedListener{Name: name, Listener: ln})
	}
	return lns, nil
}

// adoptListener makes a listener of a descriptor, which is closed.
func adoptListener(fd int, name string) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), name)
	ln, err := net.FileListener(f) // a duplicate, close-on-exec and non-blocking
	_ = f.Close()
	return ln, err
}

// HandOver makes cmd, which has not been started, a process whose InheritedListeners are
// these: *net.TCPListener, *net.UnixListener, InheritedListener, whose Name goes with it.
// Ours stay as they are, and whoever connects comes to the one or the other process. For
// a restart without a refused or lost connection:
//
//	HandOver; cmd.Start; wait until the process says that it serves; Retire; Shutdown
//
// What waits to be accepted belongs to the socket, not to a process. Close no longer
// removes the path of a unix socket.
//
// HandOver sets cmd.ExtraFiles, which the caller may close once the process has been started,
// and adds to, and takes from, cmd.Env. Other files go to ExtraFiles after it. The process
// has to be cmd itself, not one that cmd starts, and has to call InheritedListeners while
// this one is there.
//
// Errors: EINVAL when cmd has ExtraFiles or has been started, there is no listener, or a
// name has a colon or control character in it; EOPNOTSUPP for other listeners; ErrClosed;
// EMFILE. Then nothing has changed.
func HandOver(cmd *exec.Cmd, lns ...net.Listener) error {
	switch {
	case len(cmd.ExtraFiles) > 0 || cmd.Process != nil:
		return fmt.Errorf("hand over: the command has %d files already, started: %v: %w", len(cmd.ExtraFiles), cmd.Process != nil, syscall.EINVAL)
	case len(lns) == 0 || len(lns) > maxInherited:
		return fmt.Errorf("hand over: %d listeners: %w", len(lns), syscall.EINVAL)
	}
	var files []*os.File
	var names []string
	for _, ln := range lns {
		f, name, err := handedOver(ln)
		if err != nil {
			for _, f := range files {
				_ = f.Close() // err says more
			}
			return fmt.Errorf("hand over: %w", err)
		}
		files, names = append(files, f), append(names, name)
	}
	for _, ln := range lns {
		if l, ok := ln.(InheritedListener); ok {
			ln = l.Listener
		}
		if l, ok := ln.(*net.UnixListener); ok {
			l.SetUnlinkOnClose(false)
		}
	}
	cmd.ExtraFiles = files
	var env []string
	for _, v := range cmd.Environ() {
		if name, _, _ := strings.Cut(v, "="); !slices.Contains(inheritance, name) {
			env = append(env, v)
		}
	}
	cmd.Env = append(env,
		envCount+"="+strconv.Itoa(len(files)),
		envNames+"="+strings.Join(names, ":"),
		envStarter+"="+strconv.Itoa(os.Getpid()))
	return nil
}

// handedOver returns a duplicate of a listener and its name.
func handedOver(ln net.Listener) (*os.File, string, error) {
	name := nameless
	if l, ok := ln.(InheritedListener); ok {
		name = l.Name
	}
	if len(name) > 255 || strings.ContainsFunc(name, func(r rune) bool { return r == ':' || r < ' ' || r > '~' }) {
		return nil, "", fmt.Errorf("a listener's name is %q: %w", name, syscall.EINVAL)
	}
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return nil, "", notListener(ln)
	}
	fd, err := dupConn(sc)
	if err != nil {
		return nil, "", err
	}
	return os.NewFile(uintptr(fd), name), name, nil
}
