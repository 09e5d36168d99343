// The guest program is the first process of the conformance lab's virtual machine. It
// loads the modules in /modules, runs each script in /scripts in a process and a network
// namespace of its own, then the test programs that /tests names, and powers off. Test programs
// find KCM_OWN_MACHINE in the environment: they may change the machine's settings.
//
// What it has to say goes to /dev/ttyS1, in lines; internal/conformance/lab reads them:
//
//	guest RELEASE MILLISECONDS    the kernel, and the time since it booted
//	begin NAME
//	= OUTCOME                     one for each action; of a test, each line it prints
//	end NAME ok | end NAME WHY    WHY it did not come to its end, or how it failed
//	warned NAME                   the kernel has printed a warning meanwhile
//	done MILLISECONDS
//	fail TEXT                     and nothing more is run
//
// Started with an argument it runs that script and prints the outcomes alone.
//
// It runs on Linux, as root, in a machine that is its own: it must not be run elsewhere.
package main
