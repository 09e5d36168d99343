// Package lab boots Debian's kernels in a virtual machine, to have conformance scripts run on
// their AF_KCM, which few hosts have, and the tests of other packages on kernels older than
// the host's.
//
//	im, err := lab.Prepare(ctx, "6.12", cacheDir, logf)
//	guest, err := lab.BuildGuest(ctx, cacheDir)
//	report, err := im.Run(ctx, guest, lab.Load{Scripts: scripts})
//
// Prepare downloads the newest linux-image package of the series that apt offers, and unpacks
// it, which installs nothing. It keeps the uncompressed kernel and the module kcm with those it
// needs. What is there is used from then on: delete the directory to have a newer one.
//
// Run makes an initial file system of the guest program, the modules, the scripts and the
// test programs, and starts QEMU with it. There is no hardware virtualization, no disk and no network: the machine
// runs all of them from memory, reports over a serial line and powers off, all in a few seconds
// and the time that they take. Starting from the uncompressed kernel saves the time
// to unpack it, which is slow in an emulated processor.
//
// The guest's clock is the host's time stamp counter. A guest that has to find out its rate
// on a busy host gets it wrong, and then everything that has to do with time fails; so it is
// told (tsc_early_khz), and a report whose clock went wrong all the same is refused.
//
// The machine has one processor. With two, the host may run one of them and not the other for
// a while, and what the kernel does in the background seems not to happen.
//
// It needs root only for what apt needs. It does not measure speed: an emulated processor
// says nothing about it.
package lab
