package framing

import (
	"errors"
	"fmt"
	"io"

	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// With oneBuffer the parser has what gnet's loop and a bufio.Reader have: one piece of
// memory that each chunk is read into, and that stays in the caches. It copies what it
// has to keep of a chunk that ends inside a message, since that is little. loopBuffers
// are what a loop of package ring has by default, 16 MiB.
const (
	oneBuffer   = 1
	loopBuffers = 256
)

// kcm is a parser over a lower, as in a mux.
type kcm struct {
	lower  lower
	parser *strparser.Parser
	src    *Source
}

func openKcm(buffers int, batch bool) func(*Source, Callbacks) (Cutter, error) {
	return func(src *Source, to Callbacks) (Cutter, error) {
		mem, err := newMemory(buffers)
		if err != nil {
			return nil, err
		}
		k := &kcm{lower: lower{memory: mem}, src: src}
		o := strparser.Options{Format: strparser.Length32, Message: to.Message}
		if batch {
			o.Batch = to.Batch
		}
		k.parser, err = strparser.New(&k.lower, o)
		if err != nil {
			return nil, errors.Join(err, mem.close())
		}
		return k, nil
	}
}

func (k *kcm) Cut(chunks, _ int) error {
	for range chunks {
		e, err := k.lower.receive(k.src)
		if err != nil {
			return err
		}
		k.lower.unread.Append(e)
		k.parser.DataReady()
		if k.lower.err != nil {
			return k.lower.err
		}
	}
	return nil
}

func (k *kcm) Close() error {
	k.parser.Stop()
	k.parser.Done()
	k.lower.unread.Reset()
	return k.lower.close()
}

// process is a parser in general mode: whoever has a chunk calls it.
type process struct {
	mem    *memory
	parser *strparser.Parser
	src    *Source
}

func openProcess(src *Source, to Callbacks) (Cutter, error) {
	mem, err := newMemory(oneBuffer)
	if err != nil {
		return nil, err
	}
	unlocked := func(*strparser.Parser) {} // one goroutine
	p := &process{mem: mem, src: src}
	p.parser, err = strparser.New(nil, strparser.Options{
		Format: strparser.Length32, Message: to.Message, Alloc: mem, Lock: unlocked, Unlock: unlocked,
	})
	if err != nil {
		return nil, errors.Join(err, mem.close())
	}
	return p, nil
}

func (p *process) Cut(chunks, _ int) error {
	for range chunks {
		e, err := p.mem.receive(p.src)
		if err != nil {
			return err
		}
		if err := p.feed(e); err != nil {
			return err
		}
	}
	return nil
}

func (p *process) feed(e sgmsg.Element) error {
	n, err := p.parser.Process(e, 0, 0)
	e.Buf.Release()
	if err == nil && n < int(e.Len) {
		err = fmt.Errorf("process: took %d of %d bytes: %w", n, e.Len, io.ErrShortWrite)
	}
	return err
}

func (p *process) Close() error {
	p.parser.Stop()
	p.parser.Done()
	return p.mem.close()
}
