//go:build !linux

package epoll

import (
	"errors"
	"fmt"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// New fails: the system has no epoll. The error wraps errors.ErrUnsupported.
func New(backend.Config) (backend.Backend, error) {
	return nil, fmt.Errorf("epoll: %w", errors.ErrUnsupported)
}
