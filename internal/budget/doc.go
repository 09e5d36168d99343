// Package budget makes the memory of loops follow the limit of the control group that the process is in.
//
//	chosen := budget.Sizes{Buffers: 1024} // the others are for Plan to say
//	sizes, note, err := budget.Plan(chosen, budget.DefaultRegion, loops, budget.MemoryMax(os.DirFS("/")))
//
// MemoryMax reads the limit: memory.max of version 2, memory.limit_in_bytes of version 1, of the
// process's group and of those that it is in. Plan is arithmetic. Its rule:
//
//  1. What all loops receive into may be a quarter of the limit, and so may what they keep in private
//     memory. Sizes that were not chosen are halved until it is so, the larger of the receive
//     buffers and the region first, down to a least size.
//  2. What cannot be brought below the limit itself, because it was chosen or is the least, is refused.
//
// The rest of the limit is for the Go heap, stacks, and the buffers of sockets, which count as well. Memory
// that is received into counts from the start, since io_uring locks it.
//
// It knows nothing of other processes in the group, nor of loops that are not made together.
package budget
