package conform

// Allow lists what is excused.
type Allow struct {
	// LossAtHalfClose: a peer that ends its stream may lose replies that were
	// not yet sent. Those it gets are still whole and in order.
	LossAtHalfClose bool
}

// Excused is what the engines of package echo cannot do, by name.
var Excused = map[string]Allow{
	// At the end of the peer's stream gnet tries once to send what waits and
	// closes; netpoll and nbio take a half close for a close.
	"gnet":    {LossAtHalfClose: true},
	"netpoll": {LossAtHalfClose: true},
	"nbio":    {LossAtHalfClose: true},
}
