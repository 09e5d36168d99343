//go:build linux

package mux_test

import (
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
)

// What still stands does so for longer than any peer has time.
const (
	standstill = 2 * time.Second
	peersTime  = 1500 * time.Millisecond
)

// impatient has time-outs of all kinds that are shorter than what stands still.
func impatient(b ring.Backend) mux.Options {
	return mux.Options{
		IdleTimeout: peersTime, AssemblyTimeout: peersTime, Loops: 2,
		Ring: ring.Options{Backend: b, SendTimeout: peersTime},
	}
}

// A handler does not return for two seconds. Connections of the other loop do not notice;
// those of its own get their replies after that, and none is ended, though it had said
// nothing or half a message.
func TestStuckHandlerKeepsItsLoopOnly(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		t.Parallel()
		o := impatient(b)
		ended := make(chan error, 8)
		o.OnClose = func(_ *mux.Psock, err error) { ended <- err }
		reached, release := make(chan struct{}), make(chan struct{})
		m := newMux(t, o, func(p *mux.Psock, msg *sgmsg.Message) mux.Verdict {
			if msg.Len() == 4 { // an empty one
				close(reached)
				<-release
			}
			return echo(p, msg)
		})
		p, cause := attach(t, m)
		loop := p.Loop()
		var same, others []net.Conn
		for len(same) < 3 || len(others) < 1 {
			switch p, c := attach(t, m); p.Loop() {
			case loop:
				same = append(same, c)
			default:
				others = append(others, c)
			}
		}
		half := frame([]byte("in two parts"))
		if _, err := same[1].Write(half[:7]); err != nil {
			t.Fatal(err)
		}
		roundTrip(t, same[0], "before") // the loop has seen all
		if _, err := cause.Write(frame(nil)); err != nil {
			t.Fatal(err)
		}
		within(t, "the handler is called", reached)
		if _, err := same[0].Write(frame([]byte("meanwhile"))); err != nil {
			t.Fatal(err)
		}
		if _, err := same[1].Write(half[7:]); err != nil {
			t.Fatal(err)
		}
		var over bool
		for end := time.After(standstill); !over; {
			for _, c := range others {
				roundTrip(t, c, "not concerned")
			}
			select {
			case <-end:
				over = true
			default:
			}
		}
		close(release)
		for c, want := range map[net.Conn]string{same[0]: "meanwhile", same[1]: "in two parts", cause: ""} {
			got := make([]byte, 4+len(want))
			if _, err := io.ReadFull(c, got); err != nil || string(got[4:]) != want {
				t.Errorf("%q came, want the reply %q: %v", got, want, err)
			}
		}
		roundTrip(t, same[2], "silent until now")
		select {
		case err := <-ended:
			t.Errorf("a connection was ended: %v", err)
		default:
		}
	})
}

// With FIFO the messages of a socket whose worker is stuck wait for it; those of the other
// sockets are handled.
func TestStuckWorkerKeepsItsSocketsMessages(t *testing.T) {
	m := newMux(t, mux.Options{Policy: mux.FIFO, Loops: 1}, nil)
	g := newGate(t)
	startGate(t, m, 2, g)
	_, stuck := attach(t, m)
	writeNumbers(t, stuck, 0, 1)
	<-g.reached
	const n = 6 // callbacks go round the sockets
	var all []net.Conn
	for i := range uint32(n) {
		_, c := attach(t, m)
		all = append(all, c)
		writeNumbers(t, c, i+1, i+2)
		until(t, "the message is with a socket", func() bool { st := m.Stats(); return st.Queued+int(st.Received) == int(i)+1 })
	}
	until(t, "half of them are handled", func() bool { return m.Stats().Received == n/2 })
	if st := m.Stats(); st.Queued != n/2 {
		t.Errorf("%d messages wait behind the stuck one, want %d", st.Queued, n/2)
	}
	g.open()
	for i, c := range append(all, stuck) {
		if got := readNumbers(t, c, 1)[0]; got != uint32(i+1)%(n+1) {
			t.Errorf("connection %d got the reply to %d", i, got)
		}
	}
}

const envStopped = "KCM_TEST_STOPPED" // the back end of the process that is stopped

// TestStoppedServer is the process that is stopped.
func TestStoppedServer(t *testing.T) {
	backend := os.Getenv(envStopped)
	if backend == "" {
		t.Skip("another test runs it in a process of its own")
	}
	b, err := strconv.Atoi(backend)
	if err != nil {
		t.Fatal(err)
	}
	o := impatient(ring.Backend(b))
	o.Handshake = func(p *mux.Psock, msg *sgmsg.Message) mux.Verdict {
		p.Establish()
		return echo(p, msg)
	}
	o.HandshakeTimeout = peersTime
	o.OnClose = func(_ *mux.Psock, err error) { say("closed %v", err) }
	_, addr := server(t, o, echo)
	say("ready %s", addr)
	_, _ = io.Copy(io.Discard, os.Stdin)
	say("ends")
}

// A process is stopped for two seconds, in which its peers send: halves of messages, logins,
// and more than its sockets take. When it goes on all are answered and none is ended, not
// those either that said nothing.
func TestStoppedProcessEndsNoConnection(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		t.Parallel()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStoppedServer$", "-test.v")
		cmd.Env = append(os.Environ(), envStopped+"="+strconv.Itoa(int(b)))
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := lines(out)
		ready := next(t, said)
		if ready[1] != "ready" {
			t.Fatalf("the server says %q", ready)
		}
		addr := ready[2]
		var conns [4]net.Conn
		for i := range conns {
			conns[i] = dial(t, addr)
		}
		silent, half, fresh, bulk := conns[0], conns[1], conns[2], conns[3]
		for _, c := range []net.Conn{silent, half, bulk} {
			roundTrip(t, c, "before")
		}
		msg := frame([]byte("in two parts"))
		if _, err := half.Write(msg[:7]); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		var ws syscall.WaitStatus
		if _, err := syscall.Wait4(cmd.Process.Pid, &ws, syscall.WUNTRACED, nil); err != nil || !ws.Stopped() {
			t.Fatalf("the server has not stopped: %v, status %#x", err, ws)
		}
		end := time.After(standstill)
		for _, b := range []struct {
			c net.Conn
			p []byte
		}{{half, msg[7:]}, {fresh, frame([]byte("a login"))}} {
			if _, err := b.c.Write(b.p); err != nil {
				t.Fatal(err)
			}
		}
		sent := make(chan error, 1)
		go func() { sent <- pipeline(bulk, 1, 100, 8, 64<<10) }()
		<-end
		if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		for c, want := range map[net.Conn]string{half: "in two parts", fresh: "a login"} {
			got := make([]byte, 4+len(want))
			if _, err := io.ReadFull(c, got); err != nil || string(got[4:]) != want {
				t.Errorf("%q came, want the reply %q: %v", got, want, err)
			}
		}
		roundTrip(t, silent, "silent until now")
		if err := within(t, "the bulk arrives", sent); err != nil {
			t.Error(err)
		}
		in.Close()
		if line := next(t, said); line[1] != "ends" {
			t.Errorf("the server says %q", line)
		}
		for range said { // until it has ended
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
}
