package kernel

import (
	"encoding/binary"
	"fmt"

	"github.com/kcm-go/kcm/internal/conformance"
)

// Program types of bpf(2), from include/uapi/linux/bpf.h.
const (
	socketFilter = 1
	xdp          = 6
)

// msgOffset is where, from the start of an sk_buff, the stream parser keeps the offset of the
// message: cb is at 40 in struct sk_buff, strp at 24 in struct sk_skb_cb, offset at 4 in
// struct strp_msg. The same in Linux 6.1 and 6.12 on 64-bit systems.
const msgOffset = 40 + 24 + 4

// Opcodes, from include/uapi/linux/bpf.h and bpf_common.h.
const (
	opLoadAbs   = 0x20 // BPF_LD | BPF_ABS | BPF_W
	opLoadInd   = 0x40 // BPF_LD | BPF_IND | BPF_W
	opLoadStack = 0x61 // BPF_LDX | BPF_MEM | BPF_W
	opMov64     = 0xbf // BPF_ALU64 | BPF_MOV | BPF_X
	opMov64Imm  = 0xb7 // BPF_ALU64 | BPF_MOV | BPF_K
	opAdd64Imm  = 0x07 // BPF_ALU64 | BPF_ADD | BPF_K
	opMov32Imm  = 0xb4 // BPF_ALU | BPF_MOV | BPF_K
	opAdd32Imm  = 0x04 // BPF_ALU | BPF_ADD | BPF_K
	opAnd32Imm  = 0x54 // BPF_ALU | BPF_AND | BPF_K
	opNeg32     = 0x84 // BPF_ALU | BPF_NEG
	opJeqImm    = 0x15 // BPF_JMP | BPF_JEQ | BPF_K
	opJsge32Imm = 0x76 // BPF_JMP32 | BPF_JSGE | BPF_K
	opCall      = 0x85 // BPF_JMP | BPF_CALL
	opExit      = 0x95 // BPF_JMP | BPF_EXIT
	probeRead   = 113  // bpf_probe_read_kernel
	framePtr    = 10   // r10
	readFailed  = 5    // EIO
)

// instruction is struct bpf_insn.
type instruction struct {
	code     uint8
	dst, src uint8
	off      int16
	imm      int32
}

// header leaves the first four bytes of the message in r0, as a number. When they are not
// all there the load ends the program with the result 0, which asks for more.
var header = []instruction{
	{code: opMov64, dst: 6, src: 1}, // loads from the packet take it from r6
	{code: opMov64, dst: 1, src: framePtr},
	{code: opAdd64Imm, dst: 1, imm: -8},
	{code: opMov64Imm, dst: 2, imm: 4},
	{code: opMov64, dst: 3, src: 6},
	{code: opAdd64Imm, dst: 3, imm: msgOffset},
	{code: opCall, imm: probeRead}, // r1 to, r2 size, r3 from
	{code: opJeqImm, dst: 0, off: 2},
	{code: opMov32Imm, dst: 0, imm: -readFailed},
	{code: opExit},
	{code: opLoadStack, dst: 7, src: framePtr, off: -8},
	{code: opLoadInd, src: 7},
}

// program returns the instructions of a parser.
func program(parser string) ([]instruction, error) {
	then := func(tail ...instruction) []instruction {
		return append(append([]instruction(nil), header...), tail...)
	}
	addHeader := instruction{code: opAdd32Imm, imm: conformance.HeaderSize}
	exit := instruction{code: opExit}
	switch parser {
	case "len32":
		return then(addHeader, exit), nil
	case "incl32":
		return then(exit), nil
	case "errno":
		return then(
			instruction{code: opJsge32Imm, off: 3},
			instruction{code: opAnd32Imm, imm: 0x7fffffff},
			instruction{code: opNeg32},
			exit,
			addHeader, exit), nil
	case "doc":
		return []instruction{{code: opMov64, dst: 6, src: 1}, {code: opLoadAbs}, addHeader, exit}, nil
	case "more", "wrongtype": // the latter's type is what counts
		return []instruction{{code: opMov64Imm}, exit}, nil
	}
	return nil, fmt.Errorf("no program for the parser %q", parser)
}

// encode returns the instructions as the kernel takes them, on a little-endian system.
func encode(insns []instruction) []byte {
	var b []byte
	for _, i := range insns {
		b = append(b, i.code, i.src<<4|i.dst)
		b = binary.LittleEndian.AppendUint16(b, uint16(i.off))
		b = binary.LittleEndian.AppendUint32(b, uint32(i.imm))
	}
	return b
}
