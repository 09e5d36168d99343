package bench

import (
	"maps"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring"
)

func TestChurnAsText(t *testing.T) {
	for _, text := range []string{"0", "100", "5s", "10ms"} {
		if c, err := ParseChurn(text); err != nil || c.String() != text {
			t.Errorf("%s: %v, %v", text, c, err)
		}
	}
	for _, text := range []string{"", "-1", "-1s", "0s", "often"} {
		if c, err := ParseChurn(text); err == nil {
			t.Errorf("%s: %v, want an error", text, c)
		}
	}
}

// anew runs c, whose connections are made anew, and returns how many messages each of them
// had, in ascending order, as a server saw it.
func anew(t *testing.T, c Config) (*Report, []int) {
	t.Helper()
	count := make(map[net.Conn]int)
	ask, counted := make(chan net.Conn), make(chan struct{})
	go func() {
		defer close(counted)
		for c := range ask {
			count[c]++
		}
	}()
	c.Target = crooked(t, func(c net.Conn, _ int, f []byte) []byte {
		ask <- c
		return f
	})
	rep := succeed(t, c)
	close(ask)
	<-counted
	return rep, slices.Sorted(maps.Values(count))
}

// Every connection that is not the last sends as many messages as it should, nothing is
// lost, and each new one is counted.
func TestConnectionsAreMadeAnew(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		for _, rate := range []float64{0, 4000} {
			c := short("")
			c.Backend, c.Rate, c.Conns, c.Depth, c.Duration = b, rate, 3, 2, 300*time.Millisecond
			c.Churn = Churn{Messages: 7}
			rep, lives := anew(t, c)
			for rep.MessagesTotal < 300 && c.Duration < 5*time.Second { // a busy machine
				c.Duration *= 4
				rep, lives = anew(t, c)
			}
			sum := int64(0)
			for _, n := range lives {
				sum += int64(n)
			}
			if sum != rep.MessagesTotal {
				t.Errorf("rate %v: the server had %d messages, the generator %d", rate, sum, rep.MessagesTotal)
			}
			// First lives are 3, 5 and 7 messages; the last three connections may have fewer.
			if len(lives) < 10 || lives[len(lives)-1] != 7 || lives[5] != 7 {
				t.Errorf("rate %v: lives of %v messages", rate, lives)
			}
			// One that was made anew and had nothing more to send is not among those of the server.
			if n := int64(len(lives) - 3); rep.Reconnects < n || rep.Reconnects > n+3 || rep.Connect == nil || rep.Connect.P50 <= 0 {
				t.Errorf("rate %v: %d made anew, %+v; the server has %d connections", rate, rep.Reconnects, rep.Connect, len(lives))
			}
			if rate > 0 && rep.MessagesTotal != 1200 {
				t.Errorf("%d messages of 4000/s in 300 ms", rep.MessagesTotal)
			}
		}
	})
}

// A server that goes away while connections are made anew ends the run.
func TestConnectionsThatCannotBeMadeAnew(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		c, err := ln.Accept()
		ln.Close()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
		}
	}()
	c := short(ln.Addr().String())
	c.Conns, c.Duration, c.Churn = 1, time.Minute, Churn{Messages: 5}
	rep, err := Run(t.Context(), c)
	if err == nil || rep == nil || rep.Broken != 1 || rep.MessagesTotal != 5 {
		t.Errorf("%v, %+v", err, rep)
	}
}
