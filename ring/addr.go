package ring

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

func netAddr(a backend.Addr) net.Addr {
	if a.IsUnix() {
		return &net.UnixAddr{Net: "unix", Name: a.Path}
	}
	return net.TCPAddrFromAddrPort(a.IP)
}

func backendAddr(a net.Addr) (backend.Addr, int, error) {
	switch a := a.(type) {
	case *net.TCPAddr:
		ip := a.AddrPort()
		if !ip.Addr().IsValid() {
			return backend.Addr{}, 0, fmt.Errorf("address %v has no IP: %w", a, syscall.EINVAL)
		}
		if v4 := ip.Addr().Unmap(); v4.Is4() {
			return backend.Addr{IP: netip.AddrPortFrom(v4, ip.Port())}, syscall.AF_INET, nil
		}
		return backend.Addr{IP: ip}, syscall.AF_INET6, nil
	case *net.UnixAddr:
		if a.Net != "unix" && a.Net != "" {
			return backend.Addr{}, 0, fmt.Errorf("address %v is of kind %q, want unix: %w", a, a.Net, syscall.EPROTONOSUPPORT)
		}
		return backend.Addr{Path: a.Name}, syscall.AF_UNIX, nil
	}
	return backend.Addr{}, 0, fmt.Errorf("address %v of type %T is neither TCP nor unix: %w", a, a, syscall.EAFNOSUPPORT)
}
