package mux

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
