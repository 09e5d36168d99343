// Package park is where a goroutine waits until another one wakes it: one waiter, a
// token that is not lost when the wake comes first, nothing allocated per wait.
//
// There are two ways to sleep, chosen once per Parker. The runtime's (a channel) costs
// nothing while asleep, and any number of goroutines can use it. The futex keeps the
// goroutine on its thread, and the thread keeps its place in the Go scheduler: the waker
// wakes exactly that thread, with one system call and no scheduler in between. It
// pays when there are at least as many Ps (GOMAXPROCS) as threads that sleep this way;
// with fewer a woken one may wait milliseconds for the scheduler to find it a P.
package park
