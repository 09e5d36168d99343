package mux

import "sync"

// claims are the sockets that AttachFD took over, by SO_COOKIE: those of all Muxes of
// the process, for two that read one connection would each get a part of it.
type claims struct {
	mu    sync.Mutex
	taken map[uint64]struct{}
}

var claimed = claims{taken: map[uint64]struct{}{}}

// take claims a socket and reports whether nobody had.
func (c *claims) take(cookie uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.taken[cookie]; ok {
		return false
	}
	c.taken[cookie] = struct{}{}
	return true
}

// drop gives a claim up; 0, no socket's, is none: most connections have none.
func (c *claims) drop(cookie uint64) {
	if cookie == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.taken, cookie)
}
