package mux

import (
	"fmt"
	"strings"
)

// Flags are those of a message that is sent or received in parts: the kernel's MSG_
// flags of the same names.
type Flags uint16

const (
	// More, for sending, Dgram: the message goes on with the next part.
	More Flags = 1 << iota
	// EOR, for sending, Seqpacket: the message ends with this part. Of a receive it says
	// that the bytes returned are the last of their message.
	EOR
	// Batch, for sending: another message follows soon, and this one may wait for it.
	Batch
	// DontWait makes a call return EAGAIN where it would wait.
	DontWait
	// Peek, for receiving: the message stays where it is.
	Peek
	// Trunc, of a receive: the rest of the message did not fit and is lost. Given to one
	// it has no effect.
	Trunc
)

var flagNames = [...]string{"more", "eor", "batch", "dontwait", "peek", "trunc"}

// String returns the names of the flags that are set, with | between them.
func (f Flags) String() string {
	var names []string
	for i, name := range flagNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if f >>= len(flagNames); f != 0 {
		names = append(names, fmt.Sprintf("%#x", uint16(f)<<len(flagNames)))
	}
	return strings.Join(names, "|")
}
