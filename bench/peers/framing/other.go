//go:build !unix

package framing

import "errors"

func openGnet(bool) func(*Source, Callbacks) (Cutter, error) {
	return func(*Source, Callbacks) (Cutter, error) { return nil, errors.ErrUnsupported }
}

func openNetpoll(*Source, Callbacks) (Cutter, error) { return nil, errors.ErrUnsupported }
