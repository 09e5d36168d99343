package mux

import (
	"fmt"
	"io"
	"strings"
)

// WriteKCM writes snapshots in the form of the kernel's /proc/net/kcm, for tools and eyes
// that know it: a line for each Mux, and below it one for each socket and connection, with what it
// is doing in words.
//
//	Psck-N         the socket has reserved connection N
//	TxWait         it waits for a connection
//	WMore          it collects a batch
//	RxWait         a socket waits for its turn; a connection has bytes that were not looked
//	               at, RxWait=N: the message they belong to lacks N
//	RxOff          the socket is receive-disabled (not of the kernel)
//	Done           the connection is ending
//	TxStop, RxStop nothing more is sent by sockets, or never was (Serve), or received
//	Rsvd-N         socket N has reserved it
//	RxPause        it is made to wait
//	RdyRx          it is parked, with a message for a reader
//
// Memory, which the kernel counts by buffers, is the charge of SocketOptions, or the bytes
// themselves. Source of the form: net/kcm/kcmproc.c of Linux 6.12.
func WriteKCM(w io.Writer, muxes ...Snapshot) error {
	var b strings.Builder
	fmt.Fprintf(&b, "*** KCM statistics (%d MUX) ****\n", len(muxes))
	fmt.Fprintf(&b, "%-14s %-10s %-16s %-10s %-16s %-8s %-8s %-8s %-8s %s\n",
		"Object", "RX-Msgs", "RX-Bytes", "TX-Msgs", "TX-Bytes", "Recv-Q", "Rmem", "Send-Q", "Smem", "Status")
	for i := range muxes {
		m := &muxes[i]
		fmt.Fprintf(&b, "mux %-10s %-10d %-16d %-10d %-16d %-8s %-8s %-8s %-8s KCMs: %d, Psocks %d\n", "",
			m.Stats.RxMessages, m.Stats.RxBytes, m.Stats.TxMessages, m.Stats.TxBytes, "-", "-", "-", "-", len(m.Sockets), len(m.Psocks))
		for j := range m.Sockets {
			m.Sockets[j].write(&b)
		}
		for j := range m.Psocks {
			m.Psocks[j].write(&b)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *SocketStats) write(b *strings.Builder) {
	fmt.Fprintf(b, "   kcm-%-7d %-10d %-16d %-10d %-16d %-8d %-8d %-8d %-8s",
		s.Index, s.RxMessages, s.RxBytes, s.TxMessages, s.TxBytes, s.RecvQueue, s.RecvBytes, s.SendQueue, "-")
	word(b, s.Psock >= 0, "Psck-%d", s.Psock)
	word(b, s.TxWait, "TxWait")
	word(b, s.WMore, "WMore")
	word(b, s.RxWait, "RxWait")
	word(b, s.RxDisabled, "RxOff")
	b.WriteByte('\n')
}

func (p *PsockStats) write(b *strings.Builder) {
	fmt.Fprintf(b, "   psock-%-5d %-10d %-16d %-10d %-16d %-8d %-8d %-8d %-8d",
		p.Index, p.Parser.Messages, p.Parser.Bytes, p.TxMessages, p.TxBytes, p.RecvQueue, p.RecvQueue, p.SendQueue, p.SendQueue)
	word(b, p.State >= Leaving, "Done")
	word(b, p.TxStop, "TxStop")
	word(b, p.RxStop, "RxStop")
	word(b, p.Socket >= 0, "Rsvd-%d", p.Socket)
	if p.RxPause || p.RdyRx {
		word(b, p.RxPause, "RxPause")
		word(b, p.RdyRx, "RdyRx")
	} else {
		word(b, p.RecvQueue > 0 && p.Need > 0, "RxWait=%d", p.Need)
		word(b, p.RecvQueue > 0 && p.Need == 0, "RxWait")
	}
	b.WriteByte('\n')
}

// word writes a word of the status if it applies.
func word(b *strings.Builder, applies bool, format string, args ...any) {
	if applies {
		b.WriteByte(' ')
		fmt.Fprintf(b, format, args...)
	}
}

// WriteKCMStats writes the totals of snapshots in the form of the kernel's
// /proc/net/kcm_stats: a table of what Muxes count and one of their connections, those that
// have ended included. Every figure stands under its own name; the kernel exchanges the two of
// unattached connections and leaves the retries out.
func WriteKCMStats(w io.Writer, muxes ...Snapshot) error {
	var s Stats
	for i := range muxes {
		o := &muxes[i].Stats
		s.add(o)
		s.RxMessages += o.RxMessages
		s.RxBytes += o.RxBytes
		s.TxRetries += o.TxRetries
		s.TxAborts += o.TxAborts
		s.Reserved += o.Reserved
		s.Unreserved += o.Unreserved
		s.UnattachedReserved += o.UnattachedReserved
	}
	var b strings.Builder
	row := func(first string, cells ...any) {
		fmt.Fprintf(&b, "%-8s", first)
		for i, c := range cells {
			width := 10
			if i == 1 || i == 3 {
				width = 16
			}
			fmt.Fprintf(&b, " %-*v", width, c)
		}
		b.WriteByte('\n')
	}
	row("MUX", "RX-Msgs", "RX-Bytes", "TX-Msgs", "TX-Bytes", "TX-Retries", "Attach", "Unattach", "UnattchRsvd", "RX-RdyDrops")
	row("", s.RxMessages, s.RxBytes, s.TxMessages, s.TxBytes, s.TxRetries, s.Opened, s.Unattached, s.UnattachedReserved, s.RxReadyDrops)
	p := &s.Parser
	row("Psock", "RX-Msgs", "RX-Bytes", "TX-Msgs", "TX-Bytes", "Reserved", "Unreserved", "RX-Aborts", "RX-Intr", "RX-Unrecov",
		"RX-MemFail", "RX-NeedMor", "RX-BadLen", "RX-TooBig", "RX-Timeout", "TX-Aborts")
	row("", p.Messages, p.Bytes, s.TxMessages, s.TxBytes, s.Reserved, s.Unreserved, p.Aborts, p.Interrupted, p.Unrecoverable,
		p.MemFail, p.NeedMoreHdr, p.BadHdrLen, p.MsgTooBig, p.MsgTimeouts, s.TxAborts)
	_, err := io.WriteString(w, b.String())
	return err
}
