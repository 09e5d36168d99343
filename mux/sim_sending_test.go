//go:build linux

package mux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// What sockets send where, step by step: after each step all that follows from it has
// happened. The receiving half is in sim_sockets_test.go.

func framedText(text string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
}

// send sends a part of a message on a socket.
func (w *table) send(sock int, part []byte, f Flags) error {
	w.t.Helper()
	n, err := w.socks[sock].SendMsg(w.t.Context(), part, f|DontWait)
	if err == nil && n != len(part) {
		w.t.Fatalf("socket %d took %d of %d bytes", sock, n, len(part))
	}
	w.turn()
	w.checkSending()
	return err
}

// post sends whole messages.
func (w *table) post(sock int, texts ...string) {
	w.t.Helper()
	for _, text := range texts {
		if err := w.send(sock, framedText(text), EOR); err != nil {
			w.t.Fatalf("socket %d: %q: %v", sock, text, err)
		}
	}
}

func (w *table) checkSending() {
	w.t.Helper()
	tx := w.m.tx
	tx.lock()
	defer tx.unlock()
	if v := tx.violation(); v != "" {
		w.t.Fatal(v)
	}
}

// hears reads what a connection's peer was sent since, and checks that it is these messages.
// A long one is told by its beginning, one that was cut by "...".
func (w *table) hears(conn int, want ...string) {
	w.t.Helper()
	var all []byte
	for buf := make([]byte, 64<<10); ; {
		w.turn()
		n, _ := w.peers[conn].Read(buf)
		if n == 0 {
			break
		}
		all = append(all, buf[:n]...)
	}
	var got []string
	for len(all) > 0 {
		if len(all) < 4 || len(all) < 4+int(binary.BigEndian.Uint32(all)) {
			got = append(got, "...")
			break
		}
		n := int(binary.BigEndian.Uint32(all))
		got = append(got, string(all[4:min(4+n, 20)]))
		all = all[4+n:]
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("peer %d was sent %q, want %q", conn, got, want)
	}
	w.checkSending()
}

// attach adds a connection. room is its peer's receive buffer.
func (w *table) attach(room int) int {
	w.t.Helper()
	fd, peer := w.sim.Pair()
	peer.SetReadBuffer(room)
	p, err := w.m.adopt(w.m.shards[0], fd, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	w.psock, w.peers = append(w.psock, p), append(w.peers, peer)
	w.turn()
	return len(w.peers) - 1
}

// state is a line with what every socket and connection is at in sending.
func (w *table) state() string {
	x := w.m.Snapshot()
	var b strings.Builder
	for _, s := range x.Sockets {
		fmt.Fprintf(&b, "[%d unsent %d", s.Index, s.SendQueue)
		word(&b, s.Psock >= 0, "Psck-%d", s.Psock)
		word(&b, s.TxWait, "TxWait")
		word(&b, s.WMore, "WMore")
		b.WriteString("] ")
	}
	for _, p := range x.Psocks {
		fmt.Fprintf(&b, "(%d tx %d", p.Index, p.TxMessages)
		word(&b, p.Socket >= 0, "Rsvd-%d", p.Socket)
		word(&b, p.TxStop, "TxStop")
		b.WriteString(") ")
	}
	return strings.TrimSpace(b.String())
}

func (w *table) is(want string) {
	w.t.Helper()
	if got := w.state(); got != want {
		w.t.Errorf("is\n%s\nwant\n%s", got, want)
	}
}

// big is a message that does not fit a peer's buffer of 1000 bytes.
var big = "big" + strings.Repeat(".", 5000)

const bigHead = "big............."

// Proves I12, I8: messages that do not block go round the connections, each with a
// reservation of its own.
func TestSendingGoesRoundTheConnections(t *testing.T) {
	w := newTable(t, Options{}, 3, SocketOptions{}, SocketOptions{})
	w.post(0, "a", "b", "c", "d")
	w.post(1, "e")
	w.hears(0, "a", "d")
	w.hears(1, "b", "e")
	w.hears(2, "c")
	w.is("[0 unsent 0] [1 unsent 0] (0 tx 2) (1 tx 2) (2 tx 1)")
	if st := w.m.Stats(); st.Reserved != 5 || st.Unreserved != 5 || st.TxMessages != 5 {
		t.Errorf("reserved %d, unreserved %d, messages %d", st.Reserved, st.Unreserved, st.TxMessages)
	}
}

// Proves E9, E10: messages wait for a connection; the socket that has waited for longest
// sends all it has, then the next.
func TestSendingWaitsForAConnection(t *testing.T) {
	w := newTable(t, Options{}, 0, SocketOptions{}, SocketOptions{})
	w.post(0, "1 of 0")
	w.post(1, "1 of 1")
	w.post(0, "2 of 0")
	w.post(1, "2 of 1")
	w.is("[0 unsent 2 TxWait] [1 unsent 2 TxWait]")
	w.attach(64 << 10)
	w.hears(0, "1 of 0", "2 of 0", "1 of 1", "2 of 1")
	w.is("[0 unsent 0] [1 unsent 0] (0 tx 4)")
}

// Proves E11, E12, E14, E15: where messages end.
func TestWhereMessagesEnd(t *testing.T) {
	w := newTable(t, Options{}, 1, SocketOptions{}, SocketOptions{Type: Seqpacket})
	m := framedText("a message")
	for sock, f := range map[int][2]Flags{0: {More, 0}, 1: {0, EOR}} {
		w.send(sock, nil, f[1]) // nothing
		w.send(sock, m[:3], f[0])
		w.send(sock, nil, f[0])
		w.send(sock, m[3:7], f[0])
		w.hears(0)
		w.send(sock, m[7:], f[1])
		w.hears(0, "a message")
		w.send(sock, m, f[0])
		w.hears(0)
		w.send(sock, nil, f[1])
		w.hears(0, "a message")
	}
	st := w.m.Snapshot().Sockets
	for i, s := range st {
		if s.TxMessages != 2 || s.TxBytes != uint64(2*len(m)) {
			t.Errorf("socket %d counts %d messages of %d bytes", i, s.TxMessages, s.TxBytes)
		}
	}
}

// Proves E13: an open message of a closed socket is never sent.
func TestOpenMessageOfAClosedSocket(t *testing.T) {
	w := newTable(t, Options{}, 1, SocketOptions{Type: Seqpacket}, SocketOptions{})
	w.send(0, framedText("never ended"), 0)
	w.socks[0].Close()
	w.turn()
	w.post(1, "other")
	w.hears(0, "other")
}

// Proves E16, E17: a batch leaves with the message that ends it, in one reservation; a
// connection does not make it leave, unless the socket waits for one.
func TestBatches(t *testing.T) {
	w := newTable(t, Options{}, 1, SocketOptions{}, SocketOptions{})
	for _, text := range []string{"a", "b", "c"} {
		w.send(0, framedText(text), Batch)
	}
	w.hears(0)
	w.is("[0 unsent 3 WMore] [1 unsent 0] (0 tx 0)")
	w.post(0, "d")
	w.hears(0, "a", "b", "c", "d")
	if st := w.m.Stats(); st.Reserved != 1 {
		t.Errorf("%d reservations", st.Reserved)
	}

	w.send(0, framedText("e"), Batch)
	w.send(0, nil, 0) // ends it as well
	w.hears(0, "e")

	w = newTable(t, Options{}, 0, SocketOptions{}, SocketOptions{})
	w.send(0, framedText("batched"), Batch)
	w.post(1, "waits")
	w.send(1, framedText("batched behind"), Batch)
	w.is("[0 unsent 1 WMore] [1 unsent 2 TxWait WMore]")
	w.attach(64 << 10)
	w.hears(0, "waits", "batched behind")
	w.is("[0 unsent 1 WMore] [1 unsent 0] (0 tx 2)")
}

// Proves E18, E47, KC-8: a full socket refuses, and drops or keeps nothing; what is open goes on;
// what was dropped makes room.
func TestFullSocketRefusesMessages(t *testing.T) {
	w := newTable(t, Options{}, 0, SocketOptions{SendBytes: 600})
	w.post(0, strings.Repeat("a", 5000)) // an empty socket takes any
	if err := w.send(0, framedText("b"), 0); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("a full socket: %v", err)
	}
	w.attach(64 << 10)
	w.hears(0, "aaaaaaaaaaaaaaaa")

	m := framedText(strings.Repeat("c", 2000))
	w.send(0, m[:1000], More)
	if err := w.send(0, m[1000:], 0); err != nil { // no matter how much is open
		t.Errorf("the rest of a message: %v", err)
	}
	w.hears(0, "cccccccccccccccc")
	if n := w.m.Snapshot().Sockets[0].SendBytes; n != 0 {
		t.Errorf("%d bytes are charged for nothing", n)
	}
}

// Proves E19: while a connection is blocked inside a message another socket's leave on others, and
// those of the same socket wait.
func TestBlockedMessage(t *testing.T) {
	w := newTable(t, Options{}, 0, SocketOptions{}, SocketOptions{})
	w.attach(1000)
	w.post(0, big)
	w.attach(64 << 10)
	w.post(1, "other")
	w.post(0, "behind")
	w.hears(1, "other")
	w.is("[0 unsent 2 Psck-0] [1 unsent 0] (0 tx 0 Rsvd-0) (1 tx 1)")
	w.hears(0, bigHead, "behind")
	w.is("[0 unsent 0] [1 unsent 0] (0 tx 2) (1 tx 1)")
}

// Proves E20, E21, KC-6: a message whose connection is reset is sent from its first byte on
// another one, now or when there is one; those behind it follow.
func TestResetInsideAMessage(t *testing.T) {
	for _, there := range []bool{true, false} {
		w := newTable(t, Options{}, 0, SocketOptions{})
		w.attach(1000)
		if there {
			w.attach(64 << 10)
		}
		w.post(0, big)
		w.post(0, "behind")
		w.peers[0].Reset()
		w.turn()
		if !there {
			w.is("[0 unsent 2 TxWait]")
			w.attach(64 << 10)
		}
		w.hears(1, bigHead, "behind")
		st := w.m.Stats()
		if st.TxRetries != 1 || st.TxAborts != 1 || st.TxMessages != 2 || w.psock[0].Err() == nil {
			t.Errorf("retries %d, aborts %d, messages %d, the connection: %v", st.TxRetries, st.TxAborts, st.TxMessages, w.psock[0].Err())
		}
	}
}

// Proves E38, KC-9: a connection whose peer has finished in an orderly way takes no more
// messages, and has no error.
func TestFinishedPeerGetsNoMore(t *testing.T) {
	w := newTable(t, Options{}, 2, SocketOptions{})
	w.say(0, 2)
	w.peers[0].CloseWrite()
	w.turn()
	for range 2 {
		r, ok := w.socks[0].TryRecv()
		if !ok {
			t.Fatal("a message from before its end is not delivered")
		}
		r.Done()
	}
	w.post(0, "a", "b")
	w.hears(1, "a", "b")
	if err := w.psock[0].Err(); err != nil {
		t.Errorf("its error is %v", err)
	}
	if st := w.m.Stats(); st.TxAborts != 0 || st.TxRetries != 0 {
		t.Errorf("%d connections aborted, %d messages begun again", st.TxAborts, st.TxRetries)
	}
}

// A connection that we end before anything of a message has left on it has ended in an orderly
// way: the message leaves on another one, and nobody was sent a part of it.
func TestEndBeforeAMessage(t *testing.T) {
	var ends []error
	w := newTable(t, Options{OnClose: func(_ *Psock, err error) { ends = append(ends, err) }}, 1, SocketOptions{})
	if _, err := w.socks[0].SendMsg(t.Context(), framedText("waits"), EOR); err != nil { // in the box, for the loop's next turn
		t.Fatal(err)
	}
	w.is("[0 unsent 1 Psck-0] (0 tx 0 Rsvd-0)")
	w.psock[0].Close()
	w.turn()
	w.hears(0)
	w.attach(1000)
	w.hears(1, "waits")
	if st := w.m.Stats(); st.TxAborts != 0 || st.TxMessages != 1 {
		t.Errorf("%d connections aborted, %d messages sent", st.TxAborts, st.TxMessages)
	}
	if !slices.Equal(ends, []error{nil}) || w.psock[0].Err() != nil {
		t.Errorf("it ended with %v, and has %v", ends, w.psock[0].Err())
	}
}

// Proves E22, E23: taking a connection away inside a message makes it begin again; closing
// the socket inside a message does not: it is finished, what is behind it is discarded, and the
// connection is everybody's again.
func TestEndsInsideAMessage(t *testing.T) {
	w := newTable(t, Options{}, 0, SocketOptions{}, SocketOptions{})
	w.attach(1000)
	w.post(0, big)
	w.psock[0].UnattachTo(func(net.Conn, error) {})
	w.turn()
	w.hears(0, "...")
	w.is("[0 unsent 1 TxWait] [1 unsent 0]")
	w.attach(1000)
	w.post(0, "behind")
	w.post(1, "other")
	w.is("[0 unsent 2 Psck-0] [1 unsent 1 TxWait] (0 tx 0 Rsvd-0)")
	w.socks[0].Close()
	w.turn()
	w.is("[1 unsent 1 TxWait] (0 tx 0 Rsvd-0)")
	w.hears(1, bigHead, "other")
	w.is("[1 unsent 0] (0 tx 2)")
	if st := w.m.Stats(); st.TxDiscarded != 1 || st.TxMessages != 2 {
		t.Errorf("discarded %d, sent %d", st.TxDiscarded, st.TxMessages)
	}
}

// Proves E46: several messages of the protocol in one of the socket's are contiguous.
func TestSuperMessage(t *testing.T) {
	w := newTable(t, Options{}, 2, SocketOptions{})
	w.send(0, slices.Concat(framedText("one"), framedText("two"), framedText("three")), 0)
	w.hears(0, "one", "two", "three")
	w.hears(1)
}

// Proves KC-16: while others wait a socket that never runs dry gives its connection up after 64 KiB.
func TestBusySocketTakesTurns(t *testing.T) {
	w := newTable(t, Options{}, 0, SocketOptions{SendBytes: 1 << 20}, SocketOptions{})
	for range 9 {
		w.post(0, strings.Repeat("a", 16<<10))
	}
	w.post(1, "other")
	w.attach(4000)
	var order []string
	var all []byte
	buf := make([]byte, 4000)
	for w.m.Stats().Unsent > 0 || w.peers[0].Buffered() > 0 {
		n, _ := w.peers[0].Read(buf)
		all = append(all, buf[:n]...)
		w.turn()
	}
	for len(all) > 0 {
		n := int(binary.BigEndian.Uint32(all))
		order = append(order, string(all[4:5]))
		all = all[4+n:]
	}
	if got := strings.Join(order, ""); got != "aaaoaaaaaa" {
		t.Errorf("order %s", got)
	}
}

// Proves KC-22: nothing is sent on connections that Serve brought.
func TestSocketsDoNotSendToGuests(t *testing.T) {
	w := newTable(t, Options{}, 0, SocketOptions{})
	fd, peer := w.sim.Pair()
	if _, err := w.m.receive(w.m.shards[0], fd, func(*Psock) {}); err != nil {
		t.Fatal(err)
	}
	w.turn()
	w.post(0, "for equals")
	w.turn()
	if n, _ := peer.Read(make([]byte, 1)); n > 0 {
		t.Error("a guest was sent a socket's message")
	}
	w.is("[0 unsent 1 TxWait] (0 tx 0 TxStop)")
}
