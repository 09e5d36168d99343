//go:build !linux

package main

import (
	"errors"
	"io"

	"github.com/kcm-go/kcm/internal/conformance"
)

func runMux(*options, []conformance.Case, io.Writer) (int, error) { return 0, errors.ErrUnsupported }
