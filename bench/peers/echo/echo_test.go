package echo

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/kcm-go/kcm/bench/peers/conform"
)

func TestEngines(t *testing.T) {
	for _, name := range slices.Concat(Engines(), Dispatchers()) {
		t.Run(name, func(t *testing.T) {
			s, err := Listen(name, "127.0.0.1:0", Options{})
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			addr := s.Addr().String()
			conform.Test(t, addr, conform.Excused[name])

			// Close ends connections that are open and frees the address.
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := s.Close(); err != nil {
				t.Fatalf("close: %v", err)
			}
			ln, err := net.Listen("tcp", addr)
			if err != nil {
				t.Fatalf("address still in use after Close: %v", err)
			}
			ln.Close()
		})
	}
}

func TestListenErrors(t *testing.T) {
	if _, err := Listen("nosuch", "127.0.0.1:0", Options{}); err == nil || !strings.Contains(err.Error(), "iouring-go") {
		t.Errorf("unknown engine: %v, want an error that lists the engines", err)
	}
	if _, err := Listen("net", "127.0.0.1:0", Options{Work: true}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("work for an engine that only echoes: %v, want %v", err, errors.ErrUnsupported)
	}
	if _, err := Listen("netpool", "127.0.0.1:0", Options{Workers: -1}); err == nil {
		t.Error("-1 workers are accepted")
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, name := range slices.Concat(Engines(), Dispatchers()) {
		if s, err := Listen(name, taken.Addr().String(), Options{}); err == nil {
			s.Close()
			t.Errorf("%s: listens on an address in use", name)
		}
	}
}
