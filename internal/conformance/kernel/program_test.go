package kernel

import (
	"encoding/hex"
	"testing"

	"github.com/kcm-go/kcm/internal/conformance"
)

func TestPrograms(t *testing.T) {
	for _, parser := range conformance.Parsers {
		insns, err := program(parser)
		if parser == "badfd" || parser == "notprogram" {
			if err == nil {
				t.Errorf("%s has a program", parser)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", parser, err)
			continue
		}
		// The verifier wants the last instruction to be an exit, and jumps that stay inside.
		if last := insns[len(insns)-1]; last.code != opExit {
			t.Errorf("%s ends with %#x", parser, last.code)
		}
		for i, x := range insns {
			if x.off > 0 && i+1+int(x.off) >= len(insns) {
				t.Errorf("%s: instruction %d jumps to %d of %d", parser, i, i+1+int(x.off), len(insns))
			}
		}
	}
	if _, err := program("json"); err == nil {
		t.Error("a parser that is none has a program")
	}
}

// "doc" in the notation of the kernel's documentation: r6 = r1; r0 = ntohl(skb[0..3]);
// w0 += 4; exit.
func TestEncode(t *testing.T) {
	insns, err := program("doc")
	if err != nil {
		t.Fatal(err)
	}
	want := "bf16000000000000" + "2000000000000000" + "0400000004000000" + "9500000000000000"
	if got := hex.EncodeToString(encode(insns)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
