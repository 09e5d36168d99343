//go:build linux

package uring

import (
	"testing"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/internal/contract"
)

// with returns New with the given switches and a change to the configuration.
func with(use Switches, change func(*backend.Config)) func(backend.Config) (backend.Backend, error) {
	return func(cfg backend.Config) (backend.Backend, error) {
		if change != nil {
			change(&cfg)
		}
		return New(cfg, use)
	}
}

func TestContract(t *testing.T) {
	mustHave(t)
	t.Parallel()
	contract.Run(t, contract.Sockets(with(AllSwitches, nil)))
}

// A submission queue that is full all the time.
func TestContractTinyQueue(t *testing.T) {
	mustHave(t)
	t.Parallel()
	contract.Run(t, contract.Sockets(with(AllSwitches, func(cfg *backend.Config) { cfg.Entries = 2 })))
}

// Receives that end after some bytes.
func TestContractRecvLimit(t *testing.T) {
	mustHave(t)
	t.Parallel()
	contract.Run(t, contract.Sockets(with(AllSwitches, func(cfg *backend.Config) { cfg.RecvBytes = 700 })))
}

// Each feature off, as on a kernel that lacks it, and all of them. The limit of receives is off
// above, and three are the loop's.
func TestContractSwitchedOff(t *testing.T) {
	mustHave(t)
	sets := map[string]Switches{"all": 0}
	for i, name := range switchNames {
		if bit := Switches(1) << i; bit&(RecvLimit|HugePages|ShortSlice|VectoredSend) == 0 {
			sets[name] = AllSwitches &^ bit
		}
	}
	for name, use := range sets {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			contract.Run(t, contract.Sockets(with(use, nil)))
		})
	}
}
