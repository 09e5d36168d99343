package watch

// Attributes of log records, each with one meaning in all of them.
const (
	Mux     = "mux"      // name of a Mux
	Loop    = "loop"     // name of a loop
	Backend = "backend"  // of a loop
	Cause   = "cause"    // error that made something end or wait
	Note    = "note"     // what a loop has to do without, and why
	Address = "address"  // of a listener
	Psock   = "psock"    // index of a connection
	Stack   = "stack"    // of a panic
	Remote  = "remote"   // address of a peer
	Free    = "free"     // receive buffers that nobody holds
	Bytes   = "bytes"    // copied, used or held
	LeftOut = "left_out" // records like this one that were left out before it
)

// Labels of goroutines in profiles.
const (
	LabelMux    = "kcm_mux"    // workers: name of their Mux
	LabelWorker = "kcm_worker" // index of a worker's socket in its Mux
	LabelLoop   = "kcm_loop"   // name of a loop
)
