package main

import (
	"golang.org/x/net/bpf"

	"github.com/kcm-go/kcm/strparser/cbpf"
)

// frames returns the format of framed Thrift: 4 bytes of length, big-endian and without
// themselves, and the frame.
//
// Source: Documentation/networking/kcm.rst of Linux, where it reads
//
//	return load_word(skb, 0) + 4;
func frames() (*cbpf.Program, error) {
	return cbpf.New([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 4},
		bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: headerBytes},
		bpf.RetA{},
	})
}

const headerBytes = 4
