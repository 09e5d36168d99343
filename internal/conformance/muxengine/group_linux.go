package muxengine

import (
	"fmt"
	"time"

	"golang.org/x/net/bpf"

	"github.com/kcm-go/kcm/internal/conformance"
	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/strparser"
	"github.com/kcm-go/kcm/strparser/cbpf"
)

// group is a multiplexor. Its Mux, and those of its sockets that are not made yet, are made when
// they are needed.
type group struct {
	engine  *Engine
	mux     *mux.Mux
	parser  string
	timeout time.Duration // of the conns it was made for
	largest int           // likewise, 0 for the default
	sockets []*socket     // that are not closed
}

// add adds a socket that is not made yet.
func (g *group) add(kind mux.SocketType) *socket {
	s := &socket{group: g, options: mux.SocketOptions{Type: kind}}
	g.sockets = append(g.sockets, s)
	return s
}

// make makes what is not made yet.
func (g *group) make(parser string, timeout time.Duration, largest int) error {
	if g.mux == nil {
		format, err := formatOf(parser)
		if err != nil {
			return err
		}
		o := mux.Options{
			Format: format, MaxMessage: largest, AssemblyTimeout: timeout,
			On:     []*ring.Loop{g.engine.loop},
			Policy: mux.FIFO, FlowCap: -1,
		}
		if timeout == 0 {
			o.AssemblyTimeout = -1
		}
		if g.mux, err = mux.New(o); err != nil {
			return err
		}
		g.parser, g.timeout, g.largest = parser, timeout, largest
	}
	for _, s := range g.sockets {
		if err := s.make(); err != nil {
			return err
		}
	}
	return nil
}

// formatOf returns the format that is the parser, nil if there is none.
func formatOf(parser string) (strparser.Format, error) {
	load := bpf.LoadAbsolute{Off: 0, Size: conformance.HeaderSize}
	switch parser {
	case "len32":
		return strparser.Length32, nil
	case "incl32":
		return strparser.Length{Width: 4, Inclusive: true}, nil
	case "errno":
		return cbpf.New([]bpf.Instruction{
			load,
			bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 1 << 31, SkipFalse: 3},
			bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 1<<31 - 1},
			bpf.NegateA{},
			bpf.RetA{},
			bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: conformance.HeaderSize},
			bpf.RetA{},
		})
	case "more":
		return cbpf.New([]bpf.Instruction{bpf.RetConstant{}})
	}
	return nil, fmt.Errorf("%s", unsupported)
}
