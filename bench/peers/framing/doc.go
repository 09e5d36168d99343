// Package framing compares what it costs to find messages in bytes that have
// arrived: our parser, bufio, and the input buffers of gnet and netpoll, in one
// process, without sockets.
//
// A message is a 4-byte big-endian payload length and the payload. Bytes arrive
// in chunks of 64 KiB, cut anywhere. Each contestant hands every payload to a
// handler, which looks at the first and the last byte:
//
//	kcm              strparser.Parser over a lower, Length32, a callback per message
//	kcm-batch        the same, a callback per batch
//	kcm-func         a parse function instead of Length32, a callback per message
//	bufio            bufio.Reader, Peek and Discard: nothing copied
//	bufio-readfull   bufio.Reader, io.ReadFull of header and payload
//	gnet             a connection's buffers as gnet's event loop has them: what is
//	                 left of a chunk goes to an elastic ring buffer
//	netpoll          a LinkBuffer, Peek, Skip and Next, released once a chunk
//
// There are two ways for a chunk to arrive. Given: it lies in memory that becomes
// the contestant's without a copy, as received memory does with gnet, netpoll and
// kcm; bufio cannot take part, it reads into a buffer of its own. Read: it is
// copied once into the contestant's own memory, which stands for the kernel's copy
// and costs each the same; it makes all ratios smaller.
//
// What the package does not do: system calls, polling, replies. make peers
// compares whole servers.
package framing
