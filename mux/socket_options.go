package mux

import (
	"fmt"
	"syscall"
)

// SocketType says where a message ends for those who send or receive it in parts. A Mux
// may have sockets of both types; connections do not see the difference.
type SocketType uint8

const (
	// Dgram: a receive takes a whole message, and what does not fit is lost.
	Dgram SocketType = iota
	// Seqpacket: a receive may take a part of a message and the next one the rest.
	Seqpacket
)

func (t SocketType) String() string { return [...]string{"dgram", "seqpacket"}[t] }

// SocketOptions configure a Socket. The zero value is what Mux.Socket uses.
type SocketOptions struct {
	// Type is Dgram or Seqpacket.
	Type SocketType
	// RecvBytes, with the policy FIFO, bounds the socket's queue as Options.QueueBytes
	// does, whose value it has when zero. With Idle, where all sockets have one queue,
	// it must be zero.
	RecvBytes int
	// LowWater, with FIFO, is the sum of bytes, counted as for RecvBytes, below which a
	// socket that was full takes its turn again; 1 when zero: when it is empty. At most
	// RecvBytes. With Idle it must be zero.
	LowWater int
	// RecvDisabled opens the socket disabled: see Socket.SetRecvDisabled.
	RecvDisabled bool
	// SendBytes is how many bytes may wait to be sent, each message counting 256 more; who
	// begins a message when there are as many or more has to wait. One message may exceed
	// it by any amount. 256 KiB when zero.
	SendBytes int
	// WaitPsock says what becomes of messages while no connection can take any.
	WaitPsock WaitPsock
}

// WaitPsock says what a socket does with messages while none of the connections it could
// send on is there, or all are ending.
type WaitPsock uint8

const (
	// Block lets them wait for a connection, as the kernel does.
	Block WaitPsock = iota
	// Fail refuses to begin a message, with ENOTCONN. What has been queued before waits
	// nevertheless.
	Fail
)

// fill checks the options against those of the Mux and sets what is zero.
func (o *SocketOptions) fill(m *Options) error {
	bad := func(name string, value, most int) error {
		return fmt.Errorf("socket: option %s is %d, want 0 to %d: %w", name, value, most, syscall.EINVAL)
	}
	const most = 1<<31 - 1
	if m.Policy != FIFO && (o.RecvBytes != 0 || o.LowWater != 0) {
		return fmt.Errorf("socket: options RecvBytes and LowWater are %d and %d: they are for the policy FIFO: %w", o.RecvBytes, o.LowWater, syscall.EINVAL)
	}
	switch {
	case o.Type > Seqpacket:
		return fmt.Errorf("socket: type %d: %w", o.Type, syscall.ESOCKTNOSUPPORT)
	case o.RecvBytes < 0 || o.RecvBytes > most:
		return bad("RecvBytes", o.RecvBytes, most)
	}
	if o.RecvBytes == 0 {
		o.RecvBytes = m.QueueBytes
	}
	if o.LowWater < 0 || o.LowWater > min(o.RecvBytes, most) { // above it would be full and come back at once
		return bad("LowWater", o.LowWater, min(o.RecvBytes, most))
	}
	o.LowWater = max(1, o.LowWater)
	switch {
	case o.SendBytes < 0:
		return bad("SendBytes", o.SendBytes, 1<<31-1)
	case o.WaitPsock > Fail:
		return fmt.Errorf("socket: option WaitPsock is %d, want Block or Fail: %w", o.WaitPsock, syscall.EINVAL)
	}
	if o.SendBytes == 0 {
		o.SendBytes = 256 << 10
	}
	return nil
}
