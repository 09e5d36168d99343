package ring

// LoopStats counts what a loop did. Bytes and events are totals since start.
type LoopStats struct {
	Turns      uint64 // passes of the loop
	Waits      uint64 // times the backend was asked for events
	Syscalls   uint64 // system calls made by the backend, not counting Direct
	Sleeps     uint64 // waits that may have slept
	Events     uint64 // completions
	BytesIn    uint64
	BytesOut   uint64 // those of direct writes included
	Direct     uint64 // writes made by Push itself, a system call each
	Accepted   uint64
	Opened     uint64 // streams attached
	Closed     uint64 // streams closed or detached
	Starved    uint64 // receives that found no buffer
	Overflows  uint64 // completion queue overflows
	Large      uint64 // message bodies read into the large region
	Evicted    uint64 // queues copied out of receive buffers under pressure
	SpinHits   uint64 // spins that found work
	SpinMisses uint64 // spins that ended in sleep

	Buffers     int // receive buffers
	BuffersFree int // of which not held by anybody
	RegionUsed  int // bytes of the large region in use
	SpillUsed   int // bytes of private memory in use
	Streams     int // open endpoints

	DatagramsIn      uint64
	DatagramsOut     uint64
	DatagramsDropped uint64 // queued and not sent; what the system lost is in PacketStats
	Truncated        uint64 // datagrams longer than a receive buffer
}

// Stats returns the counters: on the loop's thread at once, elsewhere by asking
// the loop, after its end the final ones.
func (l *Loop) Stats() LoopStats {
	var st LoopStats
	if l.OnThread() {
		return l.snapshot()
	}
	if err := l.Do(func() { st = l.snapshot() }); err != nil {
		<-l.stopped
		return l.figures()
	}
	return st
}

func (l *Loop) snapshot() LoopStats {
	b := l.be.Stats()
	s := &l.stats
	s.Waits, s.Syscalls, s.Sleeps, s.Overflows = b.Waits, b.Syscalls, b.Sleeps, b.Overflows
	s.Buffers = l.mem.recv.Blocks()
	s.BuffersFree = s.Buffers - l.mem.recv.Held()
	s.SpillUsed = l.mem.spill.InUse()
	if l.mem.region != nil {
		s.RegionUsed = l.mem.region.InUse()
	}
	s.Streams = l.live
	return l.figures()
}

// figures returns the counters with what others have added.
func (l *Loop) figures() LoopStats {
	st := l.stats
	st.Direct = l.direct.writes.Load()
	st.BytesOut += l.direct.bytes.Load()
	return st
}
