//go:build !linux || !iouringgo

package echo

import (
	"errors"
	"fmt"
)

func listenIouring(string) (Server, error) {
	return nil, fmt.Errorf("needs Linux, -tags iouringgo and -ldflags=-checklinkname=0: %w", errors.ErrUnsupported)
}
