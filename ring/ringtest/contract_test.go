package ringtest

import (
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/internal/contract"
	"github.com/kcm-go/kcm/sgmsg"
)

// harness runs every test of the suite on a simulation of its own.
func harness(seed uint64, o Options) contract.Harness {
	simOf := func(b backend.Backend) *Sim { return b.(*loop).sim }
	return contract.Harness{
		New: func(t testing.TB, sizes contract.Sizes) (backend.Backend, *sgmsg.Arena, []byte) {
			s := New(seed, o)
			s.LogOnFailure(t)
			pool, mapping := contract.NewMemory(t, sizes)
			b, err := s.Open(backend.Config{Pool: pool, Mapping: mapping, Entries: 64})
			if err != nil {
				t.Fatal(err)
			}
			return b, pool, mapping
		},
		Pair: func(t testing.TB, b backend.Backend, network string) (int, contract.Peer) {
			fd, p := simOf(b).Pair()
			if network == "unix" {
				k := simOf(b).sock(fd)
				k.local, k.remote = backend.Addr{}, backend.Addr{}
			}
			return fd, waitingPeer{p}
		},
		Listen: func(t testing.TB, b backend.Backend, network string) (int, backend.Addr, func() contract.Peer) {
			s := simOf(b)
			name := "127.0.0.1:0"
			if network == "unix" {
				name = "/run/contract.sock"
			}
			fd, err := s.Listen(name)
			if err != nil {
				t.Fatal(err)
			}
			return fd, ParseAddr(s.Name(fd)), func() contract.Peer {
				p, err := s.Dial(s.Name(fd))
				if err != nil {
					t.Fatal(err)
				}
				return waitingPeer{p}
			}
		},
		Datagram: func(t testing.TB, b backend.Backend, network string) (int, contract.PacketPeer) {
			s := simOf(b)
			fd, err := s.Packet("127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			p, err := s.PacketPeer("127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			return fd, waitingPacketPeer{p, s.Name(fd)}
		},
		Settle:  func(b backend.Backend) { simOf(b).Settle() },
		Plain:   nil, // see TestTake
		Virtual: true,
	}
}

// waitingPeer lets time pass while it reads.
type waitingPeer struct{ *Peer }

func (p waitingPeer) Write(b []byte) (int, error) {
	n, err := p.Peer.Write(b)
	if errors.Is(err, syscall.EAGAIN) {
		err = nil
	}
	return n, err
}

func (p waitingPeer) Read(b []byte) (n int, err error) {
	err = p.sock.sim.await(func() error {
		n, err = p.Peer.Read(b)
		return err
	})
	return n, err
}

type waitingPacketPeer struct {
	*PacketPeer
	to string
}

func (p waitingPacketPeer) Addr() backend.Addr  { return p.sock.local }
func (p waitingPacketPeer) Send(b []byte) error { return p.WriteTo(b, p.to) }

func (p waitingPacketPeer) Recv(b []byte) (n int, err error) {
	err = p.sock.sim.await(func() error {
		n, _, err = p.ReadFrom(b)
		return err
	})
	return n, err
}

// await lets time pass until try does not return EAGAIN.
func (s *Sim) await(try func() error) error {
	for {
		if err := try(); !errors.Is(err, syscall.EAGAIN) {
			return err
		}
		if len(s.timers) == 0 {
			return os.ErrDeadlineExceeded
		}
		s.advance(s.timers[0].at)
	}
}

var _ io.ReadWriteCloser = waitingPeer{}

func TestContractCalm(t *testing.T) {
	contract.Run(t, harness(1, Calm()))
}

// TestContractStorm leaves out only those faults after which the suite's
// operations rightly have another outcome than it asks for.
func TestContractStorm(t *testing.T) {
	o := Storm()
	o.StreamBytes, o.PacketBytes = 0, 0
	for _, f := range []Fault{
		Reset, Refuse, AcceptError, EndAccept, // failures of the network and the host
		EndMultishot, NoBuffers, // it asserts that an idle Recv has not ended
		ShortSend, SendAgain, RefuseSplit, // it sends small things once
		PollHint,                                 // it asserts that a Poll waits
		ResetDrops,                               // not before a reset
		LosePacket, DoublePacket, OvertakePacket, // datagrams arrive
	} {
		o.Odds[f] = 0
	}
	seeds := uint64(4)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run("", func(t *testing.T) { contract.Run(t, harness(seed, o)) })
	}
}

func TestTake(t *testing.T) {
	s := New(1, Calm())
	fd1, fd2 := s.PairLoops()
	a, b := s.Take(fd1), s.Take(fd2)
	if _, err := a.Write([]byte("plain")); err != nil {
		t.Fatal(err)
	}
	s.Settle()
	p := make([]byte, 10)
	if n, err := b.Read(p); err != nil || string(p[:n]) != "plain" {
		t.Fatalf("Read = %q, %v", p[:n], err)
	}
	a.Close()
	s.Settle()
	if _, err := b.Read(p); err != io.EOF {
		t.Fatalf("Read at the end: %v", err)
	}
	if s.Now() <= 0 || s.Now() > time.Millisecond {
		t.Errorf("two settles took %v", s.Now())
	}
}
