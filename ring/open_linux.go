package ring

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/internal/epoll"
	"github.com/kcm-go/kcm/ring/internal/uring"
)

func threadID() int64 { return int64(unix.Gettid()) }

func open(b Backend, use uring.Switches) func(backend.Config) (backend.Backend, error) {
	switch b {
	case URing:
		return func(c backend.Config) (backend.Backend, error) {
			be, err := uring.New(c, use)
			if err != nil {
				return nil, fmt.Errorf("%s (%w)", uring.Explain(err), err)
			}
			return be, nil
		}
	case Epoll:
		return epoll.New
	}
	return func(c backend.Config) (backend.Backend, error) {
		be, err := uring.New(c, use)
		if err == nil {
			return be, nil
		}
		why := uring.Explain(err)
		be, err = epoll.New(c)
		if err != nil {
			return nil, fmt.Errorf("%w; before that %s", err, why)
		}
		return noted{be, why + "; running on epoll"}, nil
	}
}

// noted is a backend chosen because another one could not be had.
type noted struct {
	backend.Backend
	why string
}

// refusal says why another backend was wanted, "" if none was.
func refusal(b backend.Backend) string {
	n, _ := b.(noted)
	return n.why
}

func (n noted) Notes() []string { return append([]string{n.why}, n.Backend.Notes()...) }
