package framing

import "fmt"

// Set says where bytes are before they are cut.
type Set int

const (
	Read    Set = iota // each chunk is copied to memory of the contestant
	InPlace            // each chunk is there
)

func (s Set) String() string { return [...]string{"read", "in place"}[s] }

// warmLaps are enough for every buffer to have been read into, and for the pools and
// sizes of the engines to have settled.
const warmLaps = loopBuffers + 16

// Trial is a contestant at work on an endless stream of messages of one size, a chunk
// after the other. One goroutine uses it.
type Trial struct {
	// PerChunk is how many messages a chunk completes.
	PerChunk int

	c      Contestant
	cutter Cutter
	tally  Tally
	lap    Tally // what each chunk adds
	want   Tally
}

// Open begins a trial with messages of size bytes, header included, in chunks of
// ChunkSize. size is a power of two from 8 to 4096.
func Open(c Contestant, size int, set Set) (*Trial, error) {
	if size < 8 || size > maxHeld || size&(size-1) != 0 {
		return nil, fmt.Errorf("open: messages of %d bytes, want a power of two from 8 to %d", size, maxHeld)
	}
	if !c.Runs(set) {
		return nil, fmt.Errorf("open: %s does not run %s", c.Name, set)
	}
	b, lap, split := block(size)
	t := &Trial{PerChunk: ChunkSize / size, c: c, lap: lap}
	// The stream begins with a message, in a first chunk that is a bit shorter.
	src := NewSource(b[size/2:], b)
	src.forever = true
	var err error
	if t.cutter, err = c.open(src, t.tally.callbacks()); err != nil {
		return nil, fmt.Errorf("open: %s: %w", c.Name, err)
	}
	if err := t.cutter.Cut(1, t.PerChunk-1); err != nil {
		t.cutter.Close()
		return nil, fmt.Errorf("open: %s: %w", c.Name, err)
	}
	t.want = Tally{lap.Messages - split.Messages, lap.Bytes - split.Bytes, lap.Sum - split.Sum}
	if err := t.Run(warmLaps); err != nil {
		t.cutter.Close()
		return nil, err
	}
	src.inPlace = set == InPlace
	return t, nil
}

// Run cuts so many chunks more.
func (t *Trial) Run(chunks int) error {
	t.want = t.want.plus(t.lap, uint64(chunks))
	if err := t.cutter.Cut(chunks, chunks*t.PerChunk); err != nil {
		return fmt.Errorf("%s: %w", t.c.Name, err)
	}
	return nil
}

// Check says whether everything was delivered so far that was sent, and nothing else.
func (t *Trial) Check() error {
	if t.c.Kind != ReadOnly && t.tally != t.want {
		return fmt.Errorf("%s: delivered %+v, want %+v", t.c.Name, t.tally, t.want)
	}
	return nil
}

// Close ends the trial.
func (t *Trial) Close() error { return t.cutter.Close() }
