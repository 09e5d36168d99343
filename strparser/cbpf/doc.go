// Package cbpf frames messages with programs of classic BPF, as a user of the kernel's KCM
// may have one: a [Program] is a [strparser.Format] that runs it.
//
//	p, err := cbpf.New([]bpf.Instruction{ // golang.org/x/net/bpf
//		bpf.LoadAbsolute{Off: 0, Size: 4}, // the length of the payload
//		bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 4},
//		bpf.RetA{},
//	})
//	...
//	m, err := mux.New(mux.Options{Format: p})
//
// A program sees a message from its first byte on, as far as it has arrived, and whatever
// follows it. What it returns is the contract of a KCM parser:
//
//	> 0   the length of the message, header included
//	0     more bytes are needed to tell; so does a load of bytes that are not there
//	< 0   an errno: the message is refused with it. -ESTRPIPE declines it
//	      (strparser.ErrDecline)
//
// as a 32-bit number with a sign. Division by zero ends a program with 0, like a load
// beyond the end; the parser's maximum bounds how much is gathered then.
//
// Sources: Documentation/networking/filter.rst of Linux for the machine and
// Documentation/networking/kcm.rst for the use, where programs are extended BPF. In one
// point this package differs on purpose: the kernel runs a program at the first byte of
// the chunk that a message begins in, so that every message but the first of a chunk is
// parsed at the wrong place unless the program knows better; here it is run at the first
// byte of the message.
//
// # What the package does not do
//
// It knows no packet but the stream: of the extensions (loads from negative offsets) only
// the length is there, the bytes seen so far. It loads nothing into the kernel.
package cbpf
