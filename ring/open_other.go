//go:build !linux

package ring

import (
	"fmt"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/internal/uring"
)

func threadID() int64 { return 0 }

func open(Backend, uring.Switches) func(backend.Config) (backend.Backend, error) {
	return func(backend.Config) (backend.Backend, error) {
		return nil, fmt.Errorf("this system has neither io_uring nor epoll: %w", ErrNotSupported)
	}
}

// refusal says why another backend was wanted: none is to be had.
func refusal(backend.Backend) string { return "" }
