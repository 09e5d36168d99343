// Stream sends messages that are many times larger than the limits of the sockets and the
// buffers of the program, part by part, and checks what arrives.
//
//	go run ./examples/stream -size 8388608 -messages 3
//
// The sockets are of type Seqpacket: what SendMsg is given goes on with the message until
// EOR says that it has ended, and RecvMsg gives as much of a message as there is room for,
// EOR with the last of it. So a sender can be an io.Writer and a receiver an io.Reader
// (parts.go), and io.Copy does the rest. A message here is the 4-byte length that the format
// wants first, so many bytes of content less 32, and the content's SHA-256, which the sender
// knows only when all else is sent.
//
// What is buffered where:
//
//	content -> part -> open message -> queue -> | TCP | -> parser -> queue -> buffer -> hash
//	           16 KiB  whole, in private        |     |    whole, in the      4 KiB
//	                   memory of a loop         |     |    large region
//
// The program holds one part on either side and never a message. The library does:
//
//   - A message leaves only when it is whole, because it may have to begin again on another
//     connection. SendBytes makes who begins a message wait while that much is unsent, and
//     never who goes on with one. So each socket's part of that memory (Ring.SpillBytes) is one
//     message, however small SendBytes is, and less than SendBytes of those before it. A
//     part of more than 4 KiB has memory for the next power of two, smaller ones share.
//   - The receiver's parser gathers a message whole before a socket gets it, up to MaxMessage,
//     and the socket's limit (RecvBytes, with Idle QueueBytes) lets in one message whatever
//     its length. Behind that one is parked, and the connection reads no further. Together
//     they are what the large region holds, whose size follows from MaxMessage.
//
// So memory is bounded, and the bound is a few messages: the program prints what it saw. To
// send what is larger than that, or without end, make it several messages.
//
// A sender whose content fails in the middle cannot take the message back, but close the
// socket: what is open of a message is discarded then, and the receiver never sees it.
package main
