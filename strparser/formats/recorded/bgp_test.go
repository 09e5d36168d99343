package recorded

import (
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "BGP", f: formats.BGP,
		encoders:  []string{"github.com/osrg/gobgp/v4/pkg/packet/bgp"},
		reference: "RFC 4271, section 4.1; RFC 8654",
		messages:  bgpMessages,
		decoder: func(stream io.Reader) func() error {
			return func() error {
				var h bgp.BGPHeader
				head := make([]byte, bgp.BGP_HEADER_LENGTH)
				if _, err := io.ReadFull(stream, head); err != nil {
					return err
				}
				if err := h.DecodeFromBytes(head); err != nil {
					return err
				}
				body := make([]byte, int(h.Len)-len(head))
				if _, err := io.ReadFull(stream, body); err != nil {
					return err
				}
				_, err := bgp.ParseBGPBody(&h, body)
				return err
			}
		},
	})
}

// bgpMessages is each message, and updates and notifications of all lengths, those of RFC
// 8654 too. Each is one call.
func bgpMessages(t *testing.T) (messages [][]byte) {
	rng := rand.New(rand.NewPCG(1, 1))
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(m *bgp.BGPMessage) int {
		b, err := m.Serialize(&bgp.MarshallingOption{ExtendedMessage: true})
		must(err)
		messages = append(messages, b)
		return len(b)
	}
	open, err := bgp.NewBGPOpenMessage(64512, 90, netip.MustParseAddr("192.0.2.1"), []bgp.OptionParameterInterface{
		bgp.NewOptionParameterCapability([]bgp.ParameterCapabilityInterface{
			bgp.NewCapMultiProtocol(bgp.RF_IPv6_UC), bgp.NewCapRouteRefresh(), bgp.NewCapExtendedMessage(), bgp.NewCapFourOctetASNumber(4200000000),
		}),
	})
	must(err)
	write(open)
	bare, err := bgp.NewBGPOpenMessage(64512, 0, netip.MustParseAddr("192.0.2.1"), nil)
	must(err)
	write(bare)
	write(bgp.NewBGPKeepAliveMessage())
	write(bgp.NewEndOfRib(bgp.RF_IPv4_UC))
	write(bgp.NewEndOfRib(bgp.RF_IPv6_UC))
	write(bgp.NewBGPRouteRefreshMessage(bgp.AFI_IP, 0, bgp.SAFI_UNICAST))
	next, err := bgp.NewPathAttributeNextHop(netip.MustParseAddr("192.0.2.2"))
	must(err)
	for _, n := range []int{0, 1, 3, 10, 100, 500} {
		var routes []bgp.PathNLRI
		for i := range n {
			prefix, err := bgp.NewIPAddrPrefix(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), byte(i >> 8), 0}), 8+i%17).Masked())
			must(err)
			routes = append(routes, bgp.PathNLRI{NLRI: prefix})
		}
		write(bgp.NewBGPUpdateMessage(nil, []bgp.PathAttributeInterface{
			bgp.NewPathAttributeOrigin(0),
			bgp.NewPathAttributeAsPath([]bgp.AsPathParamInterface{bgp.NewAs4PathParam(2, []uint32{64512, 4200000000})}),
			next, bgp.NewPathAttributeCommunities([]uint32{1, 2, 3}),
		}, routes))
		write(bgp.NewBGPUpdateMessage(routes, nil, nil))
	}
	const around = 21 // what a notification has around its data
	for _, n := range sizes(rng, 1<<8, bgp.BGP_MAX_MESSAGE_LENGTH, 1<<15, bgp.BGP_MAX_EXTENDED_MESSAGE_LENGTH-1) {
		n = max(n, around)
		if got := write(bgp.NewBGPNotificationMessage(6, 2, payload(rng, n-around))); got != n {
			t.Fatalf("a notification of %d bytes, want %d", got, n)
		}
	}
	return messages
}
