package strparser

// Stats are the counters and latched flags of one parser. Counters never
// decrease.
type Stats struct {
	Messages uint64 // complete messages, counted before the Message callback
	Bytes    uint64 // stream bytes consumed, brought up to date after each chunk
	Copied   uint64 // of those, bytes copied because they had to wait

	MemFail       uint32 // chunks left on the lower for lack of memory
	NeedMoreHdr   uint32 // results 0 of the parse function
	MsgTooBig     uint32 // EMSGSIZE
	MsgTimeouts   uint32 // ETIMEDOUT
	BadHdrLen     uint32 // EPROTO: a length that ends in earlier chunks
	Aborted       bool   // the default abort stopped the parser
	Interrupted   bool   // the parse function returned an error
	Unrecoverable bool   // it declined a message of which bytes were taken
}

// Stats returns the counters as they are now. To be called where Process and
// Check run.
func (p *Parser) Stats() Stats { return p.stats }

// Aggregate sums the statistics of many parsers. The zero value is empty.
type Aggregate struct {
	Messages, Bytes, Copied uint64

	MemFail, NeedMoreHdr, MsgTooBig, MsgTimeouts, BadHdrLen uint64

	Aborts, Interrupted, Unrecoverable uint64 // parsers with that flag
}

// Save adds one parser: once, when it is retired, or into a fresh Aggregate for
// a snapshot.
func (a *Aggregate) Save(s Stats) {
	a.Messages += s.Messages
	a.Bytes += s.Bytes
	a.Copied += s.Copied
	a.MemFail += uint64(s.MemFail)
	a.NeedMoreHdr += uint64(s.NeedMoreHdr)
	a.MsgTooBig += uint64(s.MsgTooBig)
	a.MsgTimeouts += uint64(s.MsgTimeouts)
	a.BadHdrLen += uint64(s.BadHdrLen)
	a.Aborts += count(s.Aborted)
	a.Interrupted += count(s.Interrupted)
	a.Unrecoverable += count(s.Unrecoverable)
}

// Add adds another aggregate.
func (a *Aggregate) Add(b *Aggregate) {
	a.Messages += b.Messages
	a.Bytes += b.Bytes
	a.Copied += b.Copied
	a.MemFail += b.MemFail
	a.NeedMoreHdr += b.NeedMoreHdr
	a.MsgTooBig += b.MsgTooBig
	a.MsgTimeouts += b.MsgTimeouts
	a.BadHdrLen += b.BadHdrLen
	a.Aborts += b.Aborts
	a.Interrupted += b.Interrupted
	a.Unrecoverable += b.Unrecoverable
}

func count(flag bool) uint64 {
	if flag {
		return 1
	}
	return 0
}
