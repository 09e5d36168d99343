package ring

import (
	"fmt"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// packetBatch is the largest number of datagrams of one call of the handler.
const packetBatch = 64

func (p *Packet) received(ev *backend.Event) {
	l := p.loop
	switch e := ev.Err(); {
	case ev.Buf != 0 && (p.state != open_ || ev.Res < backend.PacketOverhead):
		ev.Buf.Release()
	case ev.Buf != 0:
		p.got = append(p.got, sgmsg.Element{Buf: ev.Buf, Len: uint32(ev.Res)})
		l.packets[packetReady].push(p)
	case e == syscall.ENOBUFS:
		l.stats.Starved++
	case e != 0 && e != syscall.ECANCELED && e != syscall.EAGAIN && e != syscall.EINTR && p.state == open_:
		p.failing, p.sick = e, true
		l.packets[packetReady].push(p)
	}
	if !ev.More {
		p.steer()
	}
}

// steer receives, unless there is something to be done first.
func (p *Packet) steer() {
	if p.state != open_ || p.sick || p.ops&bit(backend.OpRecvMsg) != 0 {
		return
	}
	l := p.loop
	if l.mem.free == 0 {
		l.mem.hungry.Store(true)
		l.packets[packetStarved].push(p)
		l.tellStarved()
		return
	}
	p.ops |= bit(backend.OpRecvMsg)
	l.be.RecvMsg(p.key(backend.OpRecvMsg), p.fd)
}

// deliver tells the handler what has happened.
func (p *Packet) deliver() {
	if len(p.got) > 0 {
		p.hand()
	}
	if p.sick {
		p.diagnose()
	}
	p.steer()
}

// hand gives the handler what has arrived, and the buffers back.
func (p *Packet) hand() {
	l := p.loop
	got := p.got
	p.got = p.got[:0] // nothing is added during the calls
	if l.batch == nil {
		l.batch = make([]Datagram, packetBatch)
	}
	n := 0
	for _, e := range got {
		var r backend.Received
		backend.ParseReceived(e.Bytes(), &r)
		e.Off += backend.PacketOverhead
		e.Len -= backend.PacketOverhead
		p.stats.BytesIn += uint64(e.Len)
		l.stats.BytesIn += uint64(e.Len)
		size := e.Len
		if s := uint32(max(r.Segment, 0)); s > 0 && s < size {
			size = s
			p.stats.Joined++
		}
		for left := e.Len; ; {
			if n == packetBatch {
				p.tellDatagrams(n)
				n = 0
			}
			e.Len = min(size, left)
			left -= e.Len
			d := &l.batch[n]
			n++
			d.Msg.Lend(e)
			d.From, d.FromPath, d.To, d.local, d.Interface = r.From.IP, r.From.Path, r.To, r.Local, r.Interface
			if d.TOS, d.Time = r.TOS, (time.Time{}); r.Time != 0 {
				d.Time = time.Unix(0, r.Time)
			}
			if d.Truncated = r.Truncated && left == 0; d.Truncated {
				p.stats.Truncated++
				l.stats.Truncated++
			}
			e.Off += e.Len
			if left == 0 {
				break
			}
		}
	}
	p.tellDatagrams(n)
	for _, e := range got {
		e.Buf.Release()
	}
	p.futile = 0
}

// tellDatagrams calls the handler with the first n of the batch.
func (p *Packet) tellDatagrams(n int) {
	l := p.loop
	d := l.batch[:n]
	p.stats.In += uint64(n)
	l.stats.DatagramsIn += uint64(n)
	if p.state == open_ {
		p.h.Datagrams(p, d)
	}
	for i := range d {
		d[i].Msg.Reclaim()
	}
}

// maxErrors is how many errors are taken out of the error queue at a time.
const maxErrors = 64

// diagnose tells what the error queue holds, and what a receive ended with if that
// explains nothing.
func (p *Packet) diagnose() {
	told := 0
	var e PacketError
	for ; told < maxErrors && p.state == open_ && p.nextError(&e); told++ {
		p.tellError(&e)
	}
	errno := p.failing
	p.failing = 0
	if p.state != open_ {
		return
	}
	if told == maxErrors {
		p.loop.packets[packetReady].push(p) // and nothing is received before it is empty
		return
	}
	p.sick = false
	switch {
	case told > 0:
		p.futile = 0
	case errno == 0:
	case lasting(errno) || p.futile >= maxFutile && !fromICMP(errno):
		p.end(fmt.Errorf("receive: %w", errno))
	default:
		p.futile++
		e = PacketError{Errno: errno}
		if _, remote := p.loop.be.Names(p.fd); remote.IP.IsValid() {
			e.To = remote.IP
		}
		p.tellError(&e)
	}
}

// maxFutile is how many receives in a row may fail with nothing received or sent in
// between and nothing in the error queue, unless ICMP messages may be the cause.
const maxFutile = 16

// lasting reports whether an error of a receive comes again with the next one. Others are
// those of earlier sends, which a socket tells whoever asks first: ip(7), udp(7).
func lasting(e syscall.Errno) bool {
	switch e {
	case syscall.EBADF, syscall.ENOTSOCK, syscall.EINVAL, syscall.EFAULT, syscall.ENOTCONN, syscall.ESHUTDOWN, syscall.ENOSYS:
		return true
	}
	return false
}

// fromICMP reports whether an ICMP message may be the cause of an error: each is told once,
// with PacketOptions.NoErrors by the receive alone, and anybody may send as many as he likes.
// What each becomes is in net/ipv4/icmp.c and net/ipv6/icmp.c of Linux.
func fromICMP(e syscall.Errno) bool {
	switch e {
	case syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENOPROTOOPT,
		syscall.EMSGSIZE, syscall.EPROTO, syscall.EACCES:
		return true
	}
	const enonet = 64 // the host is isolated: ENONET, which only Linux has
	return e == enonet
}
