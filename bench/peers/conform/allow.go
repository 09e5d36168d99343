package conform

// Allow lists what is excused.
type Allow struct {
	// LossAtHalfClose: a peer that ends its stream may lose replies that were
	// not yet sent. Those it gets are still whole and in order.
	LossAtHalfClose bool

	// AnyOrder: replies to messages in flight together come in any order. Each
	// is still whole, and comes once.
	AnyOrder bool
}

// Excused is what the engines of package echo cannot do, by name.
var Excused = map[string]Allow{
	// At the end of the peer's stream gnet tries once to send what waits and
	// closes; netpoll and nbio take a half close for a close.
	"gnet":    {LossAtHalfClose: true},
	"netpoll": {LossAtHalfClose: true},
	"nbio":    {LossAtHalfClose: true},

	// Several workers handle the messages of a connection.
	"netgo":   {AnyOrder: true},
	"netpool": {AnyOrder: true},
}
