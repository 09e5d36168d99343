package cbpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/net/bpf"

	"github.com/kcm-go/kcm/strparser"
)

// Program is a checked program. It is a [strparser.Format] that can only parse, and safe
// for concurrent use.
type Program struct{ code []bpf.RawInstruction }

// maxInstructions is the kernel's BPF_MAXINSNS.
const maxInstructions = 4096

// Opcodes of classic BPF: a class, and what it does. Source: linux/filter.h,
// linux/bpf_common.h.
const (
	classLd  = 0x00
	classLdx = 0x01
	classSt  = 0x02
	classStx = 0x03
	classALU = 0x04
	classJmp = 0x05
	classRet = 0x06
	class    = 0x07 // mask

	sizeW = 0x00
	sizeH = 0x08
	sizeB = 0x10
	size  = 0x18

	modeImm = 0x00
	modeAbs = 0x20
	modeInd = 0x40
	modeMem = 0x60
	modeLen = 0x80
	modeMsh = 0xa0

	srcX = 0x08

	retA = 0x10

	aluAdd    = 0x00
	aluSub    = 0x10
	aluMul    = 0x20
	aluDiv    = 0x30
	aluOr     = 0x40
	aluAnd    = 0x50
	aluLsh    = 0x60
	aluRsh    = 0x70
	aluNeg    = 0x80
	aluMod    = 0x90
	aluXor    = 0xa0
	operation = 0xf0

	jmpJa   = 0x00
	jmpJeq  = 0x10
	jmpJgt  = 0x20
	jmpJge  = 0x30
	jmpJset = 0x40

	miscTax = classRet + 1 // class 7
	miscTxa = 0x80 | miscTax

	scratch = 16 // words of memory
)

// New returns the program of assembled instructions. Errors wrap EINVAL and name the
// instruction.
func New(program []bpf.Instruction) (*Program, error) {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, fmt.Errorf("cbpf: %w: %w", err, syscall.EINVAL)
	}
	return NewRaw(raw)
}

// NewRaw returns the program of raw instructions, as in a struct sock_fprog. Errors wrap
// EINVAL and name the instruction.
func NewRaw(program []bpf.RawInstruction) (*Program, error) {
	if n := len(program); n == 0 || n > maxInstructions {
		return nil, fmt.Errorf("cbpf: a program of %d instructions, want 1 to %d: %w", n, maxInstructions, syscall.EINVAL)
	}
	p := &Program{code: append([]bpf.RawInstruction(nil), program...)}
	for i, in := range p.code {
		if why := p.check(i, in); why != "" {
			return nil, fmt.Errorf("cbpf: instruction %d (code %#x, jt %d, jf %d, k %#x): %s: %w",
				i, in.Op, in.Jt, in.Jf, in.K, why, syscall.EINVAL)
		}
	}
	if p.code[len(p.code)-1].Op&class != classRet {
		return nil, fmt.Errorf("cbpf: instruction %d is the last and does not return: %w", len(p.code)-1, syscall.EINVAL)
	}
	return p, nil
}

// check says what is wrong with an instruction, "" if nothing is. As in the kernel jumps
// go forward and stay inside, so that a program ends.
func (p *Program) check(i int, in bpf.RawInstruction) string {
	left := len(p.code) - i - 1 // instructions behind this one
	switch in.Op & class {
	case classLd, classLdx:
		x := in.Op&class == classLdx
		switch mode := in.Op &^ class; mode {
		case modeImm, modeLen:
		case modeMem:
			if in.K >= scratch {
				return "no such word of memory"
			}
		case modeAbs | sizeW, modeAbs | sizeH, modeAbs | sizeB, modeInd | sizeW, modeInd | sizeH, modeInd | sizeB:
			if x {
				return "no such load into X"
			}
			if mode&modeInd == 0 && int32(in.K) < 0 {
				return "an extension that a stream does not have"
			}
		case modeMsh | sizeB:
			if !x {
				return "no such load into A"
			}
		default:
			return "no such load"
		}
	case classSt, classStx:
		if in.Op&^class != 0 || in.K >= scratch {
			return "no such word of memory"
		}
	case classALU:
		switch op := in.Op & operation; {
		case op > aluXor || in.Op&^(class|operation|srcX) != 0 || op == aluNeg && in.Op&srcX != 0:
			return "no such operation"
		case (op == aluDiv || op == aluMod) && in.Op&srcX == 0 && in.K == 0:
			return "division by zero"
		case (op == aluLsh || op == aluRsh) && in.Op&srcX == 0 && in.K > 31:
			return "a shift by more than 31"
		}
	case classJmp:
		switch op := in.Op & operation; {
		case op > jmpJset || in.Op&^(class|operation|srcX) != 0:
			return "no such jump"
		case op == jmpJa && (in.Op&srcX != 0 || in.K >= uint32(left)):
			return "a jump out of the program"
		case op != jmpJa && int(max(in.Jt, in.Jf)) >= left:
			return "a jump out of the program"
		}
	case classRet:
		if in.Op != classRet && in.Op != classRet|retA {
			return "no such return"
		}
	default:
		if in.Op != miscTax && in.Op != miscTxa {
			return "no such instruction"
		}
	}
	return ""
}

// Parse implements [strparser.Format]: it runs the program.
func (p *Program) Parse(v *strparser.View) (int, error) {
	n := int32(p.run(v))
	if n >= 0 {
		return int(n), nil
	}
	no := syscall.Errno(-int64(n))
	if errors.Is(strparser.ErrDecline, no) {
		return 0, strparser.ErrDecline
	}
	return 0, no
}

// HeaderLen returns 0.
func (p *Program) HeaderLen() int { return 0 }

// PutHeader fails with errors.ErrUnsupported.
func (p *Program) PutHeader(dst []byte, payload int) (int, error) {
	return 0, fmt.Errorf("cbpf: a program writes no headers: %w", errors.ErrUnsupported)
}

// run runs the program and returns what it returns: 0 when it loads bytes that are not
// there.
func (p *Program) run(v *strparser.View) uint32 {
	var a, x uint32
	var m [scratch]uint32
	head := v.Head()
	code := p.code
	for pc := 0; pc < len(code); pc++ {
		in := &code[pc]
		switch in.Op {
		case classRet:
			return in.K
		case classRet | retA:
			return a
		case classLd | modeAbs | sizeW:
			if off := uint64(in.K); off+4 <= uint64(len(head)) {
				a = binary.BigEndian.Uint32(head[off:])
				continue
			}
			b, ok := load(v, uint64(in.K), 4)
			if !ok {
				return 0
			}
			a = b
		case classLd | modeAbs | sizeH, classLd | modeAbs | sizeB,
			classLd | modeInd | sizeW, classLd | modeInd | sizeH, classLd | modeInd | sizeB:
			off, n := uint64(in.K), 4
			if in.Op&modeInd != 0 {
				off = uint64(in.K + x)
			}
			switch in.Op & size {
			case sizeH:
				n = 2
			case sizeB:
				n = 1
			}
			b, ok := load(v, off, n)
			if !ok {
				return 0
			}
			a = b
		case classLdx | modeMsh | sizeB:
			b, ok := load(v, uint64(in.K), 1)
			if !ok {
				return 0
			}
			x = b & 0xf << 2
		case classLd | modeImm:
			a = in.K
		case classLdx | modeImm:
			x = in.K
		case classLd | modeMem:
			a = m[in.K&(scratch-1)]
		case classLdx | modeMem:
			x = m[in.K&(scratch-1)]
		case classLd | modeLen:
			a = uint32(v.Len())
		case classLdx | modeLen:
			x = uint32(v.Len())
		case classSt:
			m[in.K&(scratch-1)] = a
		case classStx:
			m[in.K&(scratch-1)] = x
		case miscTax:
			x = a
		case miscTxa:
			a = x
		case classJmp | jmpJa:
			pc += int(in.K)
		default:
			k := in.K
			if in.Op&srcX != 0 {
				k = x
			}
			if in.Op&class == classJmp {
				if jump(in.Op&operation, a, k) {
					pc += int(in.Jt)
				} else {
					pc += int(in.Jf)
				}
				continue
			}
			op := in.Op & operation
			if k == 0 && (op == aluDiv || op == aluMod) {
				return 0
			}
			a = alu(op, a, k)
		}
	}
	return 0
}

// load reads n bytes, big endian; ok is false if they are not there.
func load(v *strparser.View, off uint64, n int) (x uint32, ok bool) {
	if off+uint64(n) > uint64(v.Len()) {
		return 0, false
	}
	var b [4]byte
	v.CopyTo(b[4-n:], int(off))
	return binary.BigEndian.Uint32(b[:]), true
}

func jump(op uint16, a, k uint32) bool {
	switch op {
	case jmpJeq:
		return a == k
	case jmpJgt:
		return a > k
	case jmpJge:
		return a >= k
	}
	return a&k != 0
}

func alu(op uint16, a, k uint32) uint32 {
	switch op {
	case aluAdd:
		return a + k
	case aluSub:
		return a - k
	case aluMul:
		return a * k
	case aluDiv:
		return a / k
	case aluMod:
		return a % k
	case aluOr:
		return a | k
	case aluAnd:
		return a & k
	case aluXor:
		return a ^ k
	case aluLsh:
		return a << k // by 32 and more gives 0
	case aluRsh:
		return a >> k
	}
	return -a
}
