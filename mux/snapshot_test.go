//go:build linux

package mux_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/kcm-go/kcm/mux"
)

// A picture in which every column and word occurs, in the form of /proc/net/kcm: trailing
// blanks are the form's.
func TestWriteKCM(t *testing.T) {
	s := mux.Snapshot{
		Stats: mux.Stats{RxMessages: 3, RxBytes: 27, TxMessages: 4, TxBytes: 400016},
		Sockets: []mux.SocketStats{
			{RxMessages: 1, RxBytes: 9, TxMessages: 2, TxBytes: 400016, RecvQueue: 2, RecvBytes: 530, SendQueue: 2, Psock: 1, WMore: true, RxDisabled: true},
			{Index: 2, Psock: -1, TxWait: true, RxWait: true},
		},
		Psocks: []mux.PsockStats{
			{Socket: -1, State: mux.Leaving, TxStop: true, RxStop: true, RecvQueue: 5, Need: 7},
			{Index: 1, Socket: 0, TxMessages: 3, TxBytes: 77, SendQueue: 99, RxPause: true, RdyRx: true, RecvQueue: 1},
			{Index: 2, Socket: -1, RecvQueue: 2},
		},
	}
	s.Psocks[1].Parser.Messages, s.Psocks[1].Parser.Bytes = 3, 27
	var got strings.Builder
	if err := mux.WriteKCM(&got, s); err != nil {
		t.Fatal(err)
	}
	const want = `*** KCM statistics (1 MUX) ****
Object         RX-Msgs    RX-Bytes         TX-Msgs    TX-Bytes         Recv-Q   Rmem     Send-Q   Smem     Status
mux            3          27               4          400016           -        -        -        -        KCMs: 2, Psocks 3
   kcm-0       1          9                2          400016           2        530      2        -        Psck-1 WMore RxOff
   kcm-2       0          0                0          0                0        0        0        -        TxWait RxWait
   psock-0     0          0                0          0                5        5        0        0        Done TxStop RxStop RxWait=7
   psock-1     3          27               3          77               1        1        99       99       Rsvd-0 RxPause RdyRx
   psock-2     0          0                0          0                2        2        0        0        RxWait
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

func TestWriteKCMStats(t *testing.T) {
	var s mux.Snapshot
	s.Stats = mux.Stats{
		RxMessages: 1, RxBytes: 2, TxMessages: 3, TxBytes: 4, TxRetries: 5, Opened: 6, Unattached: 7, UnattachedReserved: 8,
		RxReadyDrops: 9, Reserved: 10, Unreserved: 11, TxAborts: 12,
	}
	p := &s.Stats.Parser
	p.Messages, p.Bytes, p.Aborts, p.Interrupted, p.Unrecoverable = 1, 2, 13, 14, 15
	p.MemFail, p.NeedMoreHdr, p.BadHdrLen, p.MsgTooBig, p.MsgTimeouts = 16, 17, 18, 19, 20
	var got strings.Builder
	if err := mux.WriteKCMStats(&got, s, s); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for l := range strings.Lines(got.String()) {
		lines = append(lines, strings.Join(strings.Fields(l), " "))
	}
	want := []string{
		"MUX RX-Msgs RX-Bytes TX-Msgs TX-Bytes TX-Retries Attach Unattach UnattchRsvd RX-RdyDrops",
		"2 4 6 8 10 12 14 16 18",
		"Psock RX-Msgs RX-Bytes TX-Msgs TX-Bytes Reserved Unreserved RX-Aborts RX-Intr RX-Unrecov RX-MemFail RX-NeedMor RX-BadLen RX-TooBig RX-Timeout TX-Aborts",
		"2 4 6 8 20 22 26 28 30 32 34 36 38 40 24",
	}
	if g, w := strings.Join(lines, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

// What a snapshot says of sockets and connections that are in the middle of something.
func TestSnapshot(t *testing.T) {
	m := newMux(t, mux.Options{Loops: 1, Policy: mux.FIFO, FlowCap: -1, MaxMessage: 8 << 20}, nil)
	s := openSocket(t, m)
	c, srv := loopback(t)
	small(t, c)
	p := attachConn(t, m, srv)
	big := frame(bytes.Repeat([]byte("a"), 8<<20-4))
	sendBytes(t, s, big, 0) // blocks on the way
	other := openWith(t, m, mux.SocketOptions{Type: mux.Seqpacket})
	sendBytes(t, other, frame(nil), mux.EOR)           // waits
	sendBytes(t, other, frame(nil), mux.EOR|mux.Batch) // behind it
	if _, err := c.Write(append(frame([]byte("for s")), 0, 0, 0, 9)); err != nil {
		t.Fatal(err)
	}
	until(t, "all has come that comes", func() bool {
		x := m.Snapshot()
		return x.Psocks[0].TxBytes > 0 && x.Stats.Queued == 1
	})
	x := m.Snapshot()
	a, b, q := x.Sockets[0], x.Sockets[1], x.Psocks[0]
	if a.Index != 0 || a.Psock != 0 || a.TxMessages != 1 || a.TxBytes != uint64(len(big)) || a.SendQueue != 1 || a.SendBytes != len(big)+256 || a.TxWait {
		t.Errorf("the socket that sends: %+v", a)
	}
	if b.Index != 1 || b.Type != mux.Seqpacket || b.Psock != -1 || !b.TxWait || !b.WMore || b.SendQueue != 2 || b.TxMessages != 2 {
		t.Errorf("the socket that waits: %+v", b)
	}
	if a.RecvQueue+b.RecvQueue != 1 || a.RecvBytes+b.RecvBytes != 9+256 || !a.RxWait || !b.RxWait {
		t.Errorf("queued: %+v, %+v", a, b)
	}
	if q.Index != 0 || q.Socket != 0 || q.Reserved != 1 || q.Unreserved != 0 || q.State != mux.Open || q.Err != nil ||
		q.Parser.Messages != 1 || q.TxMessages != 0 || q.TxBytes+uint64(q.SendQueue) != uint64(len(big)) || q.Remote.String() != c.LocalAddr().String() {
		t.Errorf("the connection: %+v", q)
	}
	p.Close()
	until(t, "the connection has ended", func() bool { return m.Snapshot().Sockets[0].TxWait })
	if x = m.Snapshot(); len(x.Psocks) != 0 || x.Stats.TxRetries != 1 || x.Sockets[0].TxRetries != 1 || x.Stats.Unsent != 3 {
		t.Errorf("after its end: %+v", x)
	}
	_, c2 := attach(t, m)
	expect(t, c2, append(frame(nil), append(frame(nil), big...)...)) // who waited for longest goes first
	until(t, "all is counted", func() bool { return m.Stats().TxMessages == 3 })
	if x = m.Snapshot(); x.Stats.Reserved != 3 || x.Stats.Unreserved != 3 || x.Psocks[0].TxMessages != 3 || x.Psocks[0].Reserved != 2 || x.Stats.Unsent != 0 {
		t.Errorf("in the end: %+v", x)
	}
}
