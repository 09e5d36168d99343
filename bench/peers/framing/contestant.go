package framing

// Contestant frames a stream that lies in memory of chunks of ChunkSize.
type Contestant interface {
	// Chunk has the first n bytes of chunk i arrive and hands out all messages that
	// are complete. With read the contestant copies them to memory of its own;
	// without, the chunk is its own until the next but one arrives.
	Chunk(i, n int, read bool) error
	// Close gives back what it has.
	Close()
}

// Entry is a contestant by name.
type Entry struct {
	Name  string
	Given bool // it can take bytes without copying them
	New   func(t *Tally, mem []byte) Contestant
}

// Entries are all contestants; the first is ours.
var Entries = []Entry{
	{"kcm", true, newKCM},
	{"kcm-batch", true, newKCMBatch},
	{"kcm-func", true, newKCMFunc},
	{"bufio", false, newBufio},
	{"bufio-readfull", false, newReadFull},
	{"gnet", true, newGnet},
	{"netpoll", true, newNetpoll},
}
