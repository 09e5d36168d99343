package ring

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// What a stream keeps of its peer's address is the whole of it.
func TestPeerIsAsTheBackendSaid(t *testing.T) {
	for _, a := range []backend.Addr{
		{IP: netip.MustParseAddrPort("192.0.2.1:65535")},
		{IP: netip.MustParseAddrPort("[2001:db8::1]:1")},
		{IP: netip.MustParseAddrPort("[::ffff:192.0.2.1]:7000")},
		{IP: netip.MustParseAddrPort("[fe80::1%lo]:7000")},
		{Path: "/run/x.sock"},
		{Path: "@abstract"},
		{},
	} {
		s := &Stream{side: &noSide}
		if got := s.RemoteAddr(); got != nil {
			t.Errorf("before it is known: %v, want nil", got)
		}
		s.isOf(a)
		if got, want := s.RemoteAddr(), netAddr(a); !reflect.DeepEqual(got, want) {
			t.Errorf("%#v: %#v, want %#v", a, got, want)
		}
		aside := a.IP.Addr().Zone() != "" || a.Path != ""
		if (s.side != &noSide) != aside {
			t.Errorf("%#v: side %p, noSide is %p", a, s.side, &noSide)
		}
	}
}
