package framing

import (
	"fmt"
	"time"
)

// Stage is a stream in memory, cut into chunks, with what its messages add up to.
type Stage struct {
	Mem   []byte // whole chunks
	Lens  []int  // how much of each is used
	Tally Tally
}

// NewStage lays out count messages of Sizes(size) in chunks whose lengths cut chooses,
// 1 to ChunkSize each.
func NewStage(count, size int, cut func() int) *Stage {
	s := new(Stage)
	stream, sum := Stream(count, Sizes(size))
	s.Tally = Tally{Messages: count, Sum: sum}
	for len(stream) > 0 {
		n := min(cut(), len(stream))
		chunk := make([]byte, ChunkSize)
		copy(chunk, stream[:n])
		s.Mem = append(s.Mem, chunk...)
		s.Lens = append(s.Lens, n)
		stream = stream[n:]
	}
	return s
}

// Whole is the cut of full chunks.
func Whole() int { return ChunkSize }

// Run has the contestant frame the stream rounds times, and returns how long it took.
// An error names what was wrong with the messages.
func (s *Stage) Run(e Entry, read bool, rounds int) (time.Duration, error) {
	var t Tally
	c := e.New(&t, s.Mem)
	defer c.Close()
	if err := s.play(c, read, 1); err != nil { // warm
		return 0, err
	}
	t = Tally{}
	start := time.Now()
	if err := s.play(c, read, rounds); err != nil {
		return 0, err
	}
	took := time.Since(start)
	if want := (Tally{rounds * s.Tally.Messages, uint64(rounds) * s.Tally.Sum}); t != want {
		return 0, fmt.Errorf("%s: %+v, want %+v", e.Name, t, want)
	}
	return took, nil
}

func (s *Stage) play(c Contestant, read bool, rounds int) error {
	for range rounds {
		for i, n := range s.Lens {
			if err := c.Chunk(i, n, read); err != nil {
				return err
			}
		}
	}
	return nil
}
