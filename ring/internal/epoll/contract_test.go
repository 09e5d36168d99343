//go:build linux

package epoll

import (
	"testing"

	"github.com/kcm-go/kcm/ring/internal/contract"
)

func TestContract(t *testing.T) { contract.Run(t, contract.Sockets(New)) }
