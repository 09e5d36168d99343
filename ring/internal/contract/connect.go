package contract

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

func family(a backend.Addr) int {
	switch {
	case a.IsUnix():
		return syscall.AF_UNIX
	case a.IP.Addr().Is4():
		return syscall.AF_INET
	}
	return syscall.AF_INET6
}

// socket opens a stream socket that fits the address.
func (d *bed) socket(a backend.Addr) int {
	d.t.Helper()
	fd, err := d.b.Socket(family(a), syscall.SOCK_STREAM)
	if err != nil {
		d.t.Fatalf("Socket: %v", err)
	}
	return d.attach(fd)
}

// testConnect: both ends of a connection on one backend.
func testConnect(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	lfd, addr, _ := h.Listen(t, d.b, network)
	acc := d.accept(d.attach(lfd))
	for i := range 3 {
		cfd := d.socket(addr)
		c := d.connect(cfd, addr)
		d.ended(c)
		if c.res != 0 {
			t.Fatalf("Connect: %v", c.err())
		}
		d.until("the connection is accepted", func() bool { return len(acc.fds) == i+1 })
		sfd := d.attach(acc.fds[i])
		there, back := []byte("there"), []byte("and back")
		rs, rc := d.recv(sfd), d.recv(cfd)
		d.ended(d.send(cfd, there), d.send(sfd, back))
		d.received(rs, there)
		d.received(rc, back)
	}
	if acc.done {
		t.Errorf("Accept ended: %v", acc.err())
	}
}

func testConnectRefused(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	lfd, addr, _ := h.Listen(t, d.b, network)
	d.attach(lfd)
	d.closeFD(lfd)
	c := d.connect(d.socket(addr), addr)
	d.ended(c)
	if c.err() != syscall.ECONNREFUSED {
		t.Fatalf("Connect: result %d, want ECONNREFUSED", c.res)
	}
}

// testConnectCancelled: a Connect cancelled at once ends once, either way.
func testConnectCancelled(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	lfd, addr, _ := h.Listen(t, d.b, network)
	d.attach(lfd)
	for range 5 {
		c := d.connect(d.socket(addr), addr)
		d.cancel(c)
		d.ended(c)
		if c.res != 0 && c.err() != syscall.ECANCELED {
			t.Fatalf("Connect: %v", c.err())
		}
	}
}

// testAcceptMany: one Accept yields every connection, each the right one.
func testAcceptMany(t *testing.T, h Harness, network string) {
	const n = 60
	d := newBed(t, h, defaultSizes)
	lfd, _, dial := h.Listen(t, d.b, network)
	d.attach(lfd)
	peers := map[string]Peer{}
	var fds []int
	connect := func(n int) {
		for range n {
			p := dial()
			name := fmt.Sprintf("peer %03d", len(peers))
			d.write(p, []byte(name))
			peers[name] = p
		}
	}
	connect(n / 3) // before Accept is queued
	acc := d.accept(lfd)
	connect(n / 3) // before it is submitted
	d.idle(1)
	connect(n - len(peers)) // while it runs
	d.until("all connections are accepted", func() bool {
		if acc.done {
			fds = append(fds, acc.fds...)
			acc = d.accept(lfd)
		}
		return len(fds)+len(acc.fds) == n
	})
	fds = append(fds, acc.fds...)

	seen := map[string]bool{}
	for _, fd := range fds {
		o := d.recv(d.attach(fd))
		d.until("the name is received", func() bool { return len(d.conns[fd].in) == len("peer 000") })
		name := string(d.conns[fd].in)
		if peers[name] == nil || seen[name] {
			t.Fatalf("accepted %q twice or from nowhere", name)
		}
		seen[name] = true
		d.ended(d.send(fd, []byte("hello "+name)))
		d.expect(peers[name], []byte("hello "+name))
		if o.done {
			t.Fatalf("Recv ended: %v", o.err())
		}
	}

	d.cancel(acc)
	d.ended(acc)
	if acc.err() != syscall.ECANCELED {
		t.Errorf("cancelled Accept ended with %d", acc.res)
	}

	// A connection made while no Accept is in flight waits for the next one.
	late := dial()
	d.idle(2)
	acc = d.accept(lfd)
	d.until("the late connection is accepted", func() bool { return len(acc.fds) == 1 })
	d.ended(d.send(d.attach(acc.fds[0]), []byte("late")))
	d.expect(late, []byte("late"))
}

// testAcceptShared: two backends accept on one socket, and one of them stops while
// connections arrive. Each connection is accepted by one of them: when the cancelled Accept
// has ended nobody needs to look for what it was told of and did not take.
func testAcceptShared(t *testing.T, h Harness, network string) {
	if h.Share == nil {
		t.Skip("sockets cannot be shared")
	}
	for _, before := range []int{0, 2} { // connections come before Cancel as well
		d, other := newBed(t, h, defaultSizes), newBed(t, h, defaultSizes)
		lfd, _, dial := h.Listen(t, d.b, network)
		ofd := h.Share(t, lfd)
		acc := d.accept(d.attach(lfd))
		d.idle(2)
		rest := other.accept(other.attach(ofd))
		other.idle(2)
		peers := map[string]Peer{}
		connect := func(n int) {
			for range n {
				name := fmt.Sprintf("peer %d", len(peers))
				peers[name] = dial()
				d.write(peers[name], []byte(name))
			}
		}
		connect(before)
		d.cancel(acc)
		connect(2)
		d.ended(acc)
		d.closeFD(lfd)
		all := func() bool { return len(acc.fds)+len(rest.fds) >= len(peers) }
		other.until("each connection is accepted", all)
		t.Logf("%d were for the cancelled Accept, %d for the other", len(acc.fds), len(rest.fds))
		connect(1)
		other.until("a later connection is accepted", all)

		seen := map[string]bool{}
		hear := func(d *bed, fds []int) {
			for _, fd := range fds {
				d.recv(d.attach(fd))
				d.until("the name is received", func() bool { return len(d.conns[fd].in) == len("peer 0") })
				name := string(d.conns[fd].in)
				if peers[name] == nil || seen[name] {
					t.Errorf("accepted %q twice or from nowhere", name)
				}
				seen[name] = true
			}
		}
		hear(d, acc.fds)
		hear(other, rest.fds)
		if len(seen) != len(peers) {
			t.Errorf("%d of %d connections were accepted", len(seen), len(peers))
		}
	}
}

func testNames(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	lfd, addr, dial := h.Listen(t, d.b, network)
	d.attach(lfd)
	if local, remote := d.b.Names(lfd); local != addr || remote != (backend.Addr{}) {
		t.Errorf("Names of the listener: %v, %v, want %v and nothing", local, remote, addr)
	}
	peer := dial()
	acc := d.accept(lfd)
	d.until("the connection is accepted", func() bool { return len(acc.fds) == 1 })
	fd := d.attach(acc.fds[0])
	local, remote := d.b.Names(fd)
	if local != addr {
		t.Errorf("local name %v, want %v", local, addr)
	}
	if network == "tcp" && (!remote.IP.IsValid() || remote.IP.Addr() != addr.IP.Addr() || remote.IP.Port() == addr.IP.Port()) {
		t.Errorf("remote name %v", remote)
	}
	if network == "unix" && remote != (backend.Addr{}) {
		t.Errorf("remote name %v, want the unnamed one", remote)
	}
	switch err := d.b.NoDelay(fd); {
	case network == "tcp" && err != nil:
		t.Errorf("NoDelay: %v", err)
	case network == "unix" && err == nil && !h.Virtual:
		t.Error("NoDelay on a unix socket: no error")
	}
	// It still works.
	d.ended(d.send(fd, []byte("x")))
	d.expect(peer, []byte("x"))
	d.turn(time.Millisecond)
}
