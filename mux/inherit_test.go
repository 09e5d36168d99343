//go:build linux

package mux

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Who the descriptors are for, how many they are and what they are called.
func TestInheritedVariables(t *testing.T) {
	const pid, ppid = 1000, 900
	for _, test := range []struct {
		env   string
		names []string
		errno error
	}{
		{"", nil, nil},
		{"LISTEN_FDS=2", nil, nil}, // for whom?
		{"LISTEN_PID=1000 LISTEN_FDS=2", []string{"unknown", "unknown"}, nil},
		{"LISTEN_PID=1000 LISTEN_FDS=2 LISTEN_FDNAMES=web:admin", []string{"web", "admin"}, nil},
		{"LISTEN_PID=1000 LISTEN_FDS=2 LISTEN_FDNAMES=:", []string{"", ""}, nil},
		{"LISTEN_PID=1000 LISTEN_FDS=1 LISTEN_FDNAMES=", []string{""}, nil},
		{"LISTEN_PID=1000", nil, nil},
		{"KCM_LISTEN_PPID=900 LISTEN_FDS=1", []string{"unknown"}, nil},

		// Not for us, whatever else they say.
		{"LISTEN_PID=900 LISTEN_FDS=2", nil, nil},
		{"LISTEN_PID=1001 LISTEN_FDS=x", nil, nil},
		{"LISTEN_PID=1001 KCM_LISTEN_PPID=900 LISTEN_FDS=1", nil, nil},
		{"KCM_LISTEN_PPID=1000 LISTEN_FDS=1", nil, nil},
		{"KCM_LISTEN_PPID=1 LISTEN_FDS=1", nil, nil},

		{"LISTEN_PID=me LISTEN_FDS=1", nil, syscall.EINVAL},
		{"LISTEN_PID= LISTEN_FDS=1", nil, syscall.EINVAL},
		{"LISTEN_PID=-1000 LISTEN_FDS=1", nil, syscall.EINVAL},
		{"KCM_LISTEN_PPID=99999999999999999999 LISTEN_FDS=1", nil, syscall.EINVAL},
		{"LISTEN_PID=1000 LISTEN_FDS=", nil, syscall.EINVAL},
		{"LISTEN_PID=1000 LISTEN_FDS=0", nil, syscall.EINVAL},
		{"LISTEN_PID=1000 LISTEN_FDS=-1", nil, syscall.EINVAL},
		{"LISTEN_PID=1000 LISTEN_FDS=two", nil, syscall.EINVAL},
		{"LISTEN_PID=1000 LISTEN_FDS=1073741824", nil, syscall.EINVAL},
		{"LISTEN_PID=1000 LISTEN_FDS=2 LISTEN_FDNAMES=web", nil, syscall.EINVAL},
		{"LISTEN_PID=1000 LISTEN_FDS=1 LISTEN_FDNAMES=web:admin", nil, syscall.EINVAL},
	} {
		env := func(name string) (string, bool) {
			for _, v := range strings.Fields(test.env) {
				if s, ok := strings.CutPrefix(v, name+"="); ok {
					return s, true
				}
			}
			return "", false
		}
		names, err := inherited(env, pid, ppid)
		if !slices.Equal(names, test.names) || !errors.Is(err, test.errno) {
			t.Errorf("%s: %q, %v; want %q, %v", test.env, names, err, test.names, test.errno)
		}
	}
}

// The variables are taken out of the environment, whatever they say.
func TestInheritedVariablesAreTakenOut(t *testing.T) {
	for _, count := range []string{"1", "x"} {
		for _, v := range []string{"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES", "KCM_LISTEN_PPID"} {
			t.Setenv(v, "1")
		}
		t.Setenv("LISTEN_FDS", count)
		lns, err := InheritedListeners() // for process 1
		if len(lns) != 0 || err != nil {
			t.Errorf("%d listeners, %v", len(lns), err)
		}
		for _, v := range os.Environ() {
			if strings.HasPrefix(v, "LISTEN_") || strings.HasPrefix(v, "KCM_LISTEN_") {
				t.Errorf("the environment has %s", v)
			}
		}
	}
	t.Setenv("LISTEN_PID", "x")
	if _, err := InheritedListeners(); !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), "LISTEN_PID") {
		t.Errorf("got %v, want EINVAL that names LISTEN_PID", err)
	}
}

// at places descriptors at numbers from 200 on, and closes them after the test, as far as
// they are there.
func at(t *testing.T, fds ...int) (first int) {
	t.Helper()
	first = 200
	for i, fd := range fds {
		if fd < 0 {
			continue
		}
		if err := unix.Dup3(fd, first+i, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(first + i) }) // EBADF if it was taken
	}
	return first
}

func fdOf(t *testing.T, c syscall.Conn) int {
	t.Helper()
	fd, err := dupConn(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func listening(t *testing.T, network, addr string) (net.Listener, int) {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln, fdOf(t, ln.(syscall.Conn))
}

// Listeners of both kinds are taken over: they have their addresses and names, work, and
// are not inherited by others; the descriptors have gone.
func TestAdoptListeners(t *testing.T) {
	tcp, a := listening(t, "tcp", "127.0.0.1:0")
	path := filepath.Join(t.TempDir(), "socket")
	local, b := listening(t, "unix", path)
	first := at(t, a, b)
	lns, err := adoptListeners(first, []string{"web", "admin"})
	if err != nil {
		t.Fatal(err)
	}
	if len(lns) != 2 || lns[0].Name != "web" || lns[1].Name != "admin" {
		t.Fatalf("got %v", lns)
	}
	for i, want := range []net.Addr{tcp.Addr(), local.Addr()} {
		ln := lns[i]
		if _, err := unix.FcntlInt(uintptr(first+i), unix.F_GETFD, 0); err != unix.EBADF {
			t.Errorf("descriptor %d is still open", first+i)
		}
		if ln.Addr().Network() != want.Network() || ln.Addr().String() != want.String() {
			t.Errorf("listener %d has the address %v, want %v", i, ln.Addr(), want)
		}
		raw, err := ln.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			if flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("listener %d: flags %#x, %v: not close-on-exec", i, flags, err)
			}
			if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
				t.Errorf("listener %d: flags %#x, %v: it blocks", i, flags, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial(want.Network(), want.String())
		if err != nil {
			t.Fatal(err)
		}
		far, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		far.Close()
		c.Close()
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("Close has removed the path: %v", err)
	}
}

// A descriptor that is no listening socket is named in the error, and none is taken.
func TestAdoptListenersRefuses(t *testing.T) {
	ln, good := listening(t, "tcp", "127.0.0.1:0")
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	packet, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packet.Close()
	seq, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "seq"), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer seq.Close()
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for name, test := range map[string]struct {
		fd    int
		errno error
	}{
		"nothing":    {-1, syscall.EBADF},
		"file":       {int(file.Fd()), syscall.ENOTSOCK},
		"connection": {fdOf(t, c.(syscall.Conn)), syscall.EINVAL},
		"packet":     {fdOf(t, packet.(syscall.Conn)), syscall.EOPNOTSUPP},
		"seqpacket":  {fdOf(t, seq), syscall.EOPNOTSUPP},
	} {
		t.Run(name, func(t *testing.T) {
			first := at(t, good, test.fd, good)
			lns, err := adoptListeners(first, []string{"first", name, "last"})
			if len(lns) != 0 || !errors.Is(err, test.errno) {
				t.Fatalf("%d listeners, %v; want %v", len(lns), err, test.errno)
			}
			if s := err.Error(); !strings.Contains(s, "descriptor 201 ("+name+")") {
				t.Errorf("the error does not name the descriptor: %v", err)
			}
			for _, fd := range []int{first, first + 2} {
				if err := checkListener(fd); err != nil {
					t.Errorf("descriptor %d was taken: %v", fd, err)
				}
			}
		})
	}
}

type otherListener struct{ net.Listener }

func TestHandOverRefuses(t *testing.T) {
	ln, _ := listening(t, "tcp", "127.0.0.1:0")
	done, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done.Close()
	for name, test := range map[string]struct {
		cmd   exec.Cmd
		lns   []net.Listener
		errno error
	}{
		"files":   {exec.Cmd{ExtraFiles: []*os.File{os.Stdin}}, []net.Listener{ln}, syscall.EINVAL},
		"started": {exec.Cmd{Process: &os.Process{}}, []net.Listener{ln}, syscall.EINVAL},
		"none":    {exec.Cmd{}, nil, syscall.EINVAL},
		"colon":   {exec.Cmd{}, []net.Listener{ln, InheritedListener{"a:b", ln}}, syscall.EINVAL},
		"control": {exec.Cmd{}, []net.Listener{InheritedListener{"a\n", ln}}, syscall.EINVAL},
		"long":    {exec.Cmd{}, []net.Listener{InheritedListener{strings.Repeat("x", 256), ln}}, syscall.EINVAL},
		"other":   {exec.Cmd{}, []net.Listener{ln, otherListener{ln}}, syscall.EOPNOTSUPP},
		"wrapped": {exec.Cmd{}, []net.Listener{InheritedListener{"x", otherListener{ln}}}, syscall.EOPNOTSUPP},
		"closed":  {exec.Cmd{}, []net.Listener{ln, done}, ErrClosed},
	} {
		files := len(test.cmd.ExtraFiles)
		err := HandOver(&test.cmd, test.lns...)
		if !errors.Is(err, test.errno) {
			t.Errorf("%s: %v, want %v", name, err, test.errno)
		}
		if test.cmd.Env != nil || len(test.cmd.ExtraFiles) != files {
			t.Errorf("%s: the command was changed", name)
		}
	}
}

// The command gets the variables in place of those of its environment, and others keep
// what they were.
func TestHandOverVariables(t *testing.T) {
	ln, _ := listening(t, "tcp", "127.0.0.1:0")
	cmd := exec.Command("true")
	cmd.Env = []string{"A=1", "LISTEN_PID=7", "LISTEN_PIDFDID=7", "LISTEN_FDS=7", "LISTEN_FDNAMES=x", "KCM_LISTEN_PPID=7", "B=LISTEN_PID"}
	if err := HandOver(cmd, ln, InheritedListener{"admin", ln}); err != nil {
		t.Fatal(err)
	}
	for _, f := range cmd.ExtraFiles {
		defer f.Close()
	}
	get := func(name string) string {
		for _, v := range cmd.Env {
			if s, ok := strings.CutPrefix(v, name+"="); ok {
				return s
			}
		}
		return "-"
	}
	for name, want := range map[string]string{"A": "1", "B": "LISTEN_PID", "LISTEN_PID": "-", "LISTEN_PIDFDID": "-", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "unknown:admin"} {
		if got := get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	names, err := inherited(func(name string) (string, bool) { s := get(name); return s, s != "-" }, -1, os.Getpid())
	if err != nil || !slices.Equal(names, []string{"unknown", "admin"}) || len(cmd.ExtraFiles) != 2 {
		t.Errorf("a child of ours finds %q, %v, and %d files", names, err, len(cmd.ExtraFiles))
	}
}
