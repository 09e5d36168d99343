// Oldkernel runs the tests of the packages that talk to the kernel, and of those on top of them, on
// Debian's kernels 6.1 and 6.12 in a virtual machine.
//
//	go run ./cmd/oldkernel                                   what make oldkernel does
//	go run ./cmd/oldkernel -kernels 6.1 -packages ring,mux
//	go run ./cmd/oldkernel -run 'TestListen' -v              some tests, with all they say
//
// For each package and kernel it prints what go test would, with the number of tests, and what the
// tests say that failed. Tests that measure time are left out: an emulated processor is slow, and
// not evenly. They are in leftout.go, each with its reason.
//
// It is run in the root of the module and needs QEMU; it says which packages are missing. The
// kernels are those of cmd/conformance. The exit status is 1 when a test failed, or the kernel
// printed a warning, and 2 if it could not run.
package main
