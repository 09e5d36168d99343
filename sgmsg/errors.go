package sgmsg

import "syscall"

// errNoMemory is returned bare: allocation failure is a flow-control event, not
// an exception, and must not allocate.
var errNoMemory error = syscall.ENOMEM
