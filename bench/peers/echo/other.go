//go:build !unix

package echo

import "errors"

func listenGnet(string) (Server, error)    { return nil, errors.ErrUnsupported }
func listenNetpoll(string) (Server, error) { return nil, errors.ErrUnsupported }
