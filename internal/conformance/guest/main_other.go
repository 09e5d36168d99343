//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "guest: this runs on Linux, in the conformance lab's virtual machine")
	os.Exit(2)
}
