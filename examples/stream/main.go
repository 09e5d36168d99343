package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
)

type config struct {
	size     int // of the content of a message
	messages int
	limit    int // SendBytes and RecvBytes
	part     int // what the sender holds
	buffer   int // what the receiver holds
}

func main() {
	var c config
	flag.IntVar(&c.size, "size", 8<<20, "how many `bytes` of content a message has")
	flag.IntVar(&c.messages, "messages", 3, "how `many` are sent")
	flag.IntVar(&c.limit, "limit", 64<<10, "SendBytes and RecvBytes of the sockets, in `bytes`")
	flag.IntVar(&c.part, "part", 16<<10, "how many `bytes` the sender has of a message")
	flag.IntVar(&c.buffer, "buffer", 4<<10, "how many `bytes` the receiver has")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, c, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "stream:", err)
		os.Exit(1)
	}
}

// run transfers messages of random bytes and prints what became of them.
func run(ctx context.Context, c config, out io.Writer) error {
	if c.size < 0 || c.part < 1 || c.buffer < 1 {
		return fmt.Errorf("messages of %d bytes in parts of %d and %d: %w", c.size, c.part, c.buffer, syscall.EINVAL)
	}
	random := func(i int) io.Reader { return rand.NewChaCha8([32]byte{byte(i)}) }
	i := 0
	f, err := transfer(ctx, c, random, func(m message) {
		fmt.Fprintf(out, "message %d: %d bytes, sent in %d parts, received in %d, SHA-256 %x... is right\n",
			i, m.size, m.sent, m.got, m.sum[:8])
		i++
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "the sender's library held up to %d bytes, the receiver's %d; limit of the sockets %d, parts of %d and %d\n",
		f.sender, f.receiver, c.limit, c.part, c.buffer)
	return nil
}
