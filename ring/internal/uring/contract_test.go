//go:build linux

package uring

import (
	"testing"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/internal/contract"
)

func TestContract(t *testing.T) {
	mustHave(t)
	t.Parallel()
	contract.Run(t, contract.Sockets(New))
}

// The same with a submission queue that is full all the time, and with the other
// way to read.
func TestContractTinyQueuePlainReads(t *testing.T) {
	mustHave(t)
	t.Parallel()
	contract.Run(t, contract.Sockets(func(cfg backend.Config) (backend.Backend, error) {
		cfg.Entries = 2
		return create(cfg, !fixedReads)
	}))
}
