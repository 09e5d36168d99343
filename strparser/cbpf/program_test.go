//go:build linux

package cbpf_test

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/kcm-go/kcm/strparser"
	"github.com/kcm-go/kcm/strparser/cbpf"
	"github.com/kcm-go/kcm/strparser/internal/feed"
)

// prefixed is the program of KCM's document: a length of 4 bytes, then so many.
var prefixed = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 0, Size: 4},
	bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 4},
	bpf.RetA{},
}

func program(t testing.TB, in ...bpf.Instruction) *cbpf.Program {
	t.Helper()
	p, err := cbpf.New(in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Several messages of a chunk are each parsed at their own beginning, and the cuts do not
// matter.
func TestProgramFramesEachMessageAtItsBeginning(t *testing.T) {
	p := program(t, prefixed...)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var stream []byte
		var want []int
		for range 1 + rng.IntN(20) {
			n := rng.IntN(40)
			stream = binary.BigEndian.AppendUint32(stream, uint32(n))
			stream = append(stream, make([]byte, n)...)
			want = append(want, 4+n)
		}
		for _, pieces := range [][][]byte{{stream}, feed.Cut(rng, stream)} {
			r := feed.Run(t, p, 0, pieces...)
			if r.Err != nil || r.Left != 0 || len(r.Lens()) != len(want) {
				t.Fatalf("%+v, want %d", r, want)
			}
			for i := range want {
				if r.Lens()[i] != want[i] {
					t.Fatalf("%d, want %d", r.Lens(), want)
				}
			}
		}
	}
}

// What a program does is what golang.org/x/net/bpf does with the same bytes in one piece.
func TestProgramAgainstAnotherMachine(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	ran := 0
	for range 6_000 {
		var in []bpf.Instruction
		for n := 1 + rng.IntN(12); len(in) < n; {
			in = append(in, randomInstruction(rng, n-len(in)))
		}
		in = append(in, bpf.RetA{})
		vm, err := bpf.NewVM(in)
		if err != nil {
			continue // theirs refuses it; what ours refuses is tested elsewhere
		}
		p, err := cbpf.New(in)
		if err != nil {
			t.Fatalf("%v: %v", in, err)
		}
		data := make([]byte, 1+rng.IntN(40))
		for i := range data {
			data[i] = byte(rng.IntN(4))
		}
		want, err := vm.Run(data)
		if err != nil {
			t.Fatal(err)
		}
		ran++
		// The parser is asked with data in hand: it sees what the program returns.
		r := feed.Run(t, p, math.MaxInt32, feed.Cut(rng, data)...)
		r1 := feed.Run(t, p, math.MaxInt32, data)
		switch n := int32(uint32(want)); {
		case n == 0 && (r1.Err != nil || r1.Left != len(data) || len(r1.Lens()) != 0):
			t.Fatalf("%v on % x: %+v, want 0", in, data, r1)
		case n > 0 && int(n) > len(data) && (r1.Err != nil || r1.Left != len(data)):
			t.Fatalf("%v on % x: %+v, want %d", in, data, r1, n)
		case n > 0 && int(n) <= len(data) && (len(r1.Lens()) == 0 || r1.Lens()[0] != int(n)):
			t.Fatalf("%v on % x: %+v, want %d", in, data, r1, n)
		case n < 0 && !errors.Is(r1.Err, syscall.Errno(-int64(n))) && !errors.Is(r1.Err, syscall.ENODATA):
			t.Fatalf("%v on % x: %+v, want errno %d", in, data, r1, -int64(n))
		}
		_ = r // must not panic
	}
	if ran < 1500 {
		t.Errorf("only %d programs ran", ran)
	}
}

func randomInstruction(rng *rand.Rand, left int) bpf.Instruction {
	k := uint32(rng.IntN(6))
	sizes := []int{1, 2, 4}
	ops := []bpf.ALUOp{bpf.ALUOpAdd, bpf.ALUOpSub, bpf.ALUOpMul, bpf.ALUOpDiv, bpf.ALUOpOr, bpf.ALUOpAnd,
		bpf.ALUOpShiftLeft, bpf.ALUOpShiftRight, bpf.ALUOpMod, bpf.ALUOpXor}
	tests := []bpf.JumpTest{bpf.JumpEqual, bpf.JumpNotEqual, bpf.JumpGreaterThan, bpf.JumpLessThan,
		bpf.JumpGreaterOrEqual, bpf.JumpLessOrEqual, bpf.JumpBitsSet, bpf.JumpBitsNotSet}
	skip := func() uint8 { return uint8(rng.IntN(left)) }
	switch n := rng.IntN(15); n + n/12 {
	case 0:
		return bpf.LoadConstant{Dst: bpf.RegA, Val: k}
	case 1:
		return bpf.LoadConstant{Dst: bpf.RegX, Val: k}
	case 2:
		return bpf.LoadScratch{Dst: bpf.Register(rng.IntN(2)), N: int(k)}
	case 3:
		return bpf.StoreScratch{Src: bpf.Register(rng.IntN(2)), N: int(k)}
	case 4, 5:
		return bpf.LoadAbsolute{Off: k, Size: sizes[rng.IntN(3)]}
	case 6:
		return bpf.LoadIndirect{Off: k, Size: sizes[rng.IntN(3)]}
	case 7:
		return bpf.LoadMemShift{Off: k}
	case 8:
		return bpf.LoadExtension{Num: bpf.ExtLen}
	case 9, 10:
		return bpf.ALUOpConstant{Op: ops[rng.IntN(len(ops))], Val: k}
	case 11:
		return bpf.ALUOpX{Op: ops[rng.IntN(len(ops))]}
	case 13:
		return bpf.JumpIf{Cond: tests[rng.IntN(len(tests))], Val: k, SkipTrue: skip(), SkipFalse: skip()}
	case 14:
		return bpf.JumpIfX{Cond: tests[rng.IntN(len(tests))], SkipTrue: skip(), SkipFalse: skip()}
	}
	return [...]bpf.Instruction{bpf.TAX{}, bpf.TXA{}, bpf.Jump{Skip: uint32(skip())}}[rng.IntN(3)]
}

// The contract of what a program returns.
func TestReturnValues(t *testing.T) {
	decline := program(t, bpf.RetConstant{Val: uint32(0x100000000 - int64(syscall.ESTRPIPE))})
	r := feed.Run(t, decline, 0, []byte("GET /"))
	var abort *strparser.AbortError
	if !errors.As(r.Err, &abort) || abort.Errno != syscall.ESTRPIPE || !abort.Recoverable {
		t.Errorf("declined: %v", r.Err)
	}
	bad := program(t, bpf.RetConstant{Val: uint32(0x100000000 - int64(syscall.EBADMSG))})
	if r := feed.Run(t, bad, 0, []byte("x")); !errors.Is(r.Err, syscall.EBADMSG) {
		t.Errorf("-EBADMSG: %v", r.Err)
	}
	large := program(t, bpf.RetConstant{Val: 1001})
	if r := feed.Run(t, large, 1000, []byte("x")); !errors.Is(r.Err, syscall.EMSGSIZE) {
		t.Errorf("1001 of at most 1000: %v", r.Err)
	}
	// A prefix near 2^32 wraps in 32 bits; what comes out is an errno, and no message.
	wraps := program(t, prefixed...)
	if r := feed.Run(t, wraps, 0, []byte{0xff, 0xff, 0xff, 0xf0, 0, 0}); r.Err == nil || len(r.Lens()) != 0 {
		t.Errorf("a prefix near 2^32: %+v", r)
	}
	zero := program(t, bpf.LoadConstant{Dst: bpf.RegX, Val: 0}, bpf.ALUOpX{Op: bpf.ALUOpDiv}, bpf.RetConstant{Val: 1})
	if r := feed.Run(t, zero, 0, []byte("abc")); r.Err != nil || r.Left != 3 {
		t.Errorf("a division by zero: %+v", r)
	}
	minus := program(t, bpf.LoadConstant{Dst: bpf.RegA, Val: 5}, bpf.NegateA{}, bpf.NegateA{}, bpf.RetA{})
	if r := feed.Run(t, minus, 0, []byte("abcde")); r.Err != nil || len(r.Messages) != 1 {
		t.Errorf("- -5: %+v", r)
	}
	if _, err := decline.PutHeader(nil, 0); !errors.Is(err, errors.ErrUnsupported) || decline.HeaderLen() != 0 {
		t.Errorf("PutHeader: %v", err)
	}
}

func TestProgramsThatAreRefused(t *testing.T) {
	ret := bpf.RawInstruction{Op: 0x06}
	for name, tc := range map[string]struct {
		code []bpf.RawInstruction
		want string
	}{
		"nothing":           {nil, "0 instructions"},
		"too long":          {make([]bpf.RawInstruction, 4097), "4097 instructions"},
		"no return":         {[]bpf.RawInstruction{{Op: 0x00}}, "does not return"},
		"a jump too far":    {[]bpf.RawInstruction{{Op: 0x15, Jt: 1}, ret}, "instruction 0 (code 0x15, jt 1, jf 0, k 0x0): a jump out"},
		"a jump always":     {[]bpf.RawInstruction{{Op: 0x05, K: 1}, ret}, "a jump out"},
		"a jump back":       {[]bpf.RawInstruction{{Op: 0x05, K: 0xffffffff}, ret}, "a jump out"},
		"division by zero":  {[]bpf.RawInstruction{{Op: 0x34}, ret}, "division by zero"},
		"modulo zero":       {[]bpf.RawInstruction{{Op: 0x94}, ret}, "division by zero"},
		"a long shift":      {[]bpf.RawInstruction{{Op: 0x64, K: 32}, ret}, "a shift"},
		"scratch":           {[]bpf.RawInstruction{{Op: 0x02, K: 16}, ret}, "memory"},
		"scratch into X":    {[]bpf.RawInstruction{{Op: 0x61, K: 16}, ret}, "memory"},
		"packet type":       {[]bpf.RawInstruction{{Op: 0x28, K: 0xfffff004}, ret}, "extension"},
		"byte swap":         {[]bpf.RawInstruction{{Op: 0xd4}, ret}, "no such operation"},
		"a load of 8 bytes": {[]bpf.RawInstruction{{Op: 0x38}, ret}, "no such load"},
		"msh into A":        {[]bpf.RawInstruction{{Op: 0xb0}, ret}, "no such load"},
		"absolute into X":   {[]bpf.RawInstruction{{Op: 0x21}, ret}, "no such load"},
		"a return of X":     {[]bpf.RawInstruction{{Op: 0x0e}}, "no such return"},
		"negation of X":     {[]bpf.RawInstruction{{Op: 0x8c}, ret}, "no such operation"},
		"a jump unheard of": {[]bpf.RawInstruction{{Op: 0x55}, ret}, "no such jump"},
		"an op unheard of":  {[]bpf.RawInstruction{{Op: 0xff07}, ret}, "no such instruction"},
	} {
		_, err := cbpf.NewRaw(tc.code)
		if !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want EINVAL with %q", name, err, tc.want)
		}
	}
	if _, err := cbpf.New([]bpf.Instruction{bpf.LoadAbsolute{Size: 3}}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a load of 3 bytes: %v", err)
	}
	// The program is copied.
	code := []bpf.RawInstruction{{Op: 0x06, K: 2}}
	p, err := cbpf.NewRaw(code)
	if err != nil {
		t.Fatal(err)
	}
	code[0].K = 3
	if r := feed.Run(t, p, 0, []byte("abcd")); len(r.Lens()) != 2 {
		t.Errorf("%+v, want two messages of 2", r)
	}
}

// No program, however made, panics or runs for long.
func FuzzProgram(f *testing.F) {
	raw, err := bpf.Assemble(prefixed)
	if err != nil {
		f.Fatal(err)
	}
	var seed []byte
	for _, in := range raw {
		seed = binary.BigEndian.AppendUint16(seed, in.Op)
		seed = append(seed, in.Jt, in.Jf)
		seed = binary.BigEndian.AppendUint32(seed, in.K)
	}
	f.Add(seed, []byte{0, 0, 0, 2, 'a', 'b', 0, 0})
	f.Fuzz(func(t *testing.T, code, data []byte) {
		var in []bpf.RawInstruction
		for ; len(code) >= 8; code = code[8:] {
			in = append(in, bpf.RawInstruction{Op: binary.BigEndian.Uint16(code), Jt: code[2], Jf: code[3], K: binary.BigEndian.Uint32(code[4:])})
		}
		p, err := cbpf.NewRaw(in)
		if err != nil {
			return
		}
		half := len(data) / 2
		feed.Run(t, p, 1<<20, data[:half], data[half:])
	})
}
