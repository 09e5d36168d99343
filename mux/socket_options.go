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
}

// fill checks the options against those of the Mux and sets what is zero.
func (o *SocketOptions) fill(m *Options) error {
	bad := func(name string, value, most int) error {
		return fmt.Errorf("socket: option %s is %d, want 0 to %d: %w", name, value, most, syscall.EINVAL)
	}
	most := 0
	if m.Policy == FIFO {
		most = 1<<31 - 1
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
	return nil
}
