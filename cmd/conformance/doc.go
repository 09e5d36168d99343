// Conformance runs the scripts of internal/conformance/testdata on the AF_KCM of Debian's
// kernels, in a virtual machine, and on package mux, and says where the outcomes are not the
// recorded ones.
//
//	go run ./cmd/conformance                   both kernels and mux; what make conformance does
//	go run ./cmd/conformance -kernels ''       mux alone: no virtual machine, a few seconds
//	go run ./cmd/conformance -run 'send.*'     some scripts
//	go run ./cmd/conformance -update           record the outcomes
//	go run ./cmd/conformance -count 3          three times each
//
// It is run in the root of the module and, for kernels, needs QEMU; it says which packages are missing. The
// first time it downloads the kernels, 200 MB, which it keeps in the user's cache directory
// (XDG_CACHE_HOME). The exit status is 1 for differences, and 2 if it could not run.
package main
