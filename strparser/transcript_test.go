//go:build linux

package strparser_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kcm-go/kcm/internal/transcript"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// TestTranscripts runs the files of testdata.
//
// Commands:
//
//	new FORMAT [max=N] [timeout=D] [general] [abort=record]
//	               FORMAT is length16, length32, lines, or script: there the
//	               results of the parse function come from parse commands
//	parse R...     queue results for script: a number or an errno
//	feed BYTES     a chunk arrives on the lower: hex pairs, "text", N*hex
//	feed@OFF BYTES the same, OFF bytes from the buffer's start
//	ready, check, pause, unpause, unpause-locked, stop, done, eof
//	check-rcv      asks for a check
//	run            runs Check if it was asked for
//	error ERRNO    the lower fails
//	process BYTES  general mode
//	expire [GEN]   the timer runs out, by default the one armed last
//	full, not-full, capacity N, no-memory N
//	on-msg CMD     what to do inside the next Message callback
//	late-chunk BYTES  put bytes on the lower inside the next Message callback
//	state, stats
func TestTranscripts(t *testing.T) {
	transcript.Run(t, "testdata/*.txt", func(t *testing.T, out *strings.Builder) transcript.Script {
		return &script{t: t, out: out}
	})
}

// script is one parser under the commands of a transcript.
type script struct {
	t       *testing.T
	l       *lower
	p       *strparser.Parser
	out     *strings.Builder
	results []string // of parse
	onMsg   string
	general bool
	locked  bool
	late    []byte
}

func (s *script) printf(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// Close checks that nothing is left behind.
func (s *script) Close() {
	if s.locked {
		s.t.Error("the lock is still held")
	}
	s.p.Stop()
	s.p.Done()
	s.l.close()
}

func (s *script) Run(line string) {
	cmd, arg, _ := strings.Cut(line, " ")
	cmd, at, _ := strings.Cut(cmd, "@")
	off, _ := strconv.Atoi(at)
	switch cmd {
	case "new":
		s.open(strings.Fields(arg))
	case "parse":
		s.results = append(s.results, strings.Fields(arg)...)
	case "feed":
		s.l.feed(off, s.bytes(arg))
	case "late-chunk":
		s.late = s.bytes(arg)
	case "process":
		e := s.l.chunk(off, s.bytes(arg))
		n, err := s.p.Process(e, 0, 0)
		e.Buf.Release()
		s.printf("consumed %d", n)
		if err != nil {
			s.printf("error %s", describe(err))
		}
	case "ready":
		s.p.DataReady()
	case "check":
		s.p.Check()
	case "check-rcv":
		s.p.CheckRcv()
	case "run":
		if s.l.kicked {
			s.l.kicked = false
			s.p.Check()
		}
	case "pause":
		s.p.Pause()
	case "unpause":
		s.p.Unpause()
	case "unpause-locked":
		s.p.UnpauseLocked()
	case "stop":
		s.p.Stop()
	case "done":
		defer func() {
			if r := recover(); r != nil {
				s.printf("panic: %v", r)
			}
		}()
		s.p.Done()
	case "eof":
		s.p.EOF()
		s.printf("finished %v", s.p.Finished())
	case "error":
		s.p.LowerError(errnos[arg])
	case "expire":
		gen := s.l.gen
		if arg != "" {
			n, _ := strconv.Atoi(arg)
			gen = uint32(n)
		}
		s.l.armed = s.l.armed && gen != s.l.gen
		s.p.Expire(gen)
	case "full":
		s.l.full = true
	case "not-full":
		s.l.full = false
	case "capacity":
		s.l.capacity, _ = strconv.Atoi(arg)
	case "no-memory":
		s.l.noMemory, _ = strconv.Atoi(arg)
	case "on-msg":
		s.onMsg = arg
	case "state":
		s.printf("in hand %d of %d, need %d, readable %d, paused %v, stopped %v, err %v",
			s.p.InProgress(), s.p.MessageLen(), s.p.Need(), s.l.Readable(), s.p.Paused(), s.p.Stopped(), s.p.Err())
	case "stats":
		s.stats()
	default:
		s.t.Fatalf("unknown command %q", line)
	}
}

func (s *script) stats() {
	st := s.p.Stats()
	s.printf("msgs %d, bytes %d, copied %d", st.Messages, st.Bytes, st.Copied)
	for _, c := range []struct {
		name string
		n    uint32
	}{
		{"mem_fail", st.MemFail}, {"need_more_hdr", st.NeedMoreHdr}, {"msg_too_big", st.MsgTooBig},
		{"msg_timeouts", st.MsgTimeouts}, {"bad_hdr_len", st.BadHdrLen},
	} {
		if c.n > 0 {
			s.printf("%s %d", c.name, c.n)
		}
	}
	for _, f := range []struct {
		name string
		set  bool
	}{{"aborted", st.Aborted}, {"interrupted", st.Interrupted}, {"unrecov_intr", st.Unrecoverable}} {
		if f.set {
			s.printf("%s", f.name)
		}
	}
}

func (s *script) open(args []string) {
	s.l = newLower(s.t, 64)
	s.l.log = s.printf
	o := strparser.Options{Message: s.message}
	var low strparser.Lower = s.l
	for i, a := range args {
		key, val, _ := strings.Cut(a, "=")
		var err error
		switch key {
		case "length16":
			o.Format = strparser.Length16
		case "length32":
			o.Format = strparser.Length32
		case "lines":
			o.Format = strparser.ParseFunc(parseLine)
		case "script":
			o.Format = strparser.ParseFunc(s.parse)
		case "max":
			o.MaxMessage, err = strconv.Atoi(val)
		case "timeout":
			o.AssemblyTimeout, err = time.ParseDuration(val)
		case "abort":
			o.Abort = func(p *strparser.Parser, err *strparser.AbortError) {
				s.printf("abort %s", describe(err))
				if p.InProgress() != 0 {
					s.t.Error("bytes are in hand inside Abort")
				}
			}
		case "read-done":
			o.ReadDone = func(_ *strparser.Parser, err error) error {
				s.printf("read done, %v", err)
				return err
			}
		case "general":
			low, s.general = nil, true
			o.Alloc = s.l
			o.Lock = func(*strparser.Parser) { s.locked = true }
			o.Unlock = func(*strparser.Parser) { s.locked = false }
			o.StartTimer = func(_ *strparser.Parser, d time.Duration, gen uint32) { s.l.StartTimer(d, gen) }
			o.StopTimer = func(*strparser.Parser) { s.l.StopTimer() }
		default:
			s.t.Fatalf("new: argument %d, %q", i, a)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	p, err := strparser.New(low, o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.p = p
}

func (s *script) message(_ *strparser.Parser, m *sgmsg.Message) {
	segs := ""
	for i := range m.Used() {
		if i > 0 {
			segs += "+"
		}
		segs += strconv.Itoa(int(m.Elem(i).Len))
	}
	s.printf("msg %s in %s", show(m.AppendTo(nil)), segs)
	if s.late != nil {
		s.l.feed(0, s.late)
		s.late = nil
	}
	if cmd := s.onMsg; cmd != "" {
		s.onMsg = ""
		s.Run(cmd)
	}
}

// parse gives the next result of the script.
func (s *script) parse(v *strparser.View) (int, error) {
	if len(s.results) == 0 {
		s.t.Fatalf("parse of %d bytes is not in the script", v.Len())
	}
	r := s.results[0]
	s.results = s.results[1:]
	s.printf("parse %d bytes: %s", v.Len(), r)
	if no, ok := errnos[strings.TrimPrefix(r, "-")]; ok {
		return 0, no
	}
	n, err := strconv.Atoi(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return n, nil
}

// bytes reads hex pairs, quoted text and repeats such as 200*ab.
func (s *script) bytes(arg string) []byte {
	var b []byte
	for _, f := range strings.Fields(arg) {
		count := 1
		if n, rest, ok := strings.Cut(f, "*"); ok {
			count, _ = strconv.Atoi(n)
			f = rest
		}
		one, err := hex.DecodeString(f)
		if text, ok := strings.CutPrefix(f, `"`); ok {
			one, err = []byte(strings.TrimSuffix(text, `"`)), nil
		}
		if err != nil {
			s.t.Fatalf("%q: %v", f, err)
		}
		b = append(b, bytes.Repeat(one, count)...)
	}
	return b
}

func show(b []byte) string {
	if len(b) > 24 {
		return fmt.Sprintf("% x ... (%d bytes)", b[:8], len(b))
	}
	for _, c := range b {
		if c < ' ' || c > '~' {
			return fmt.Sprintf("% x", b)
		}
	}
	return strconv.Quote(string(b))
}

// parseLine frames lines. The cookie keeps how far there is no end of line.
func parseLine(v *strparser.View) (int, error) {
	var one [1]byte
	for ; v.Off < v.Len(); v.Off++ {
		if v.CopyTo(one[:], v.Off) != 1 {
			return 0, errors.New("a byte of the view is missing")
		}
		if one[0] == '\n' {
			return v.Off + 1, nil
		}
	}
	return 0, nil
}
