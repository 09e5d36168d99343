//go:build linux

package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kcm-go/kcm/bench/peers/conform"
	"github.com/kcm-go/kcm/bench/peers/echo"
)

// TestServersConform tests every server that this program starts, except kcm
// itself, as it starts them.
func TestServersConform(t *testing.T) {
	root, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	names := append(echo.Engines(), "c-epoll", "c-uring")
	servers, skipped, err := builder{root, t.TempDir()}.servers(t.Context(), names, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range skipped {
		t.Errorf("%s: %s", s.Server, s.Reason)
	}
	cpus, err := allowedCPUs()
	if err != nil {
		t.Fatal(err)
	}
	starter := newStarter()
	t.Cleanup(func() { close(starter.starts) })
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			c, err := starter.start(cpus[0], []string{"GOMAXPROCS=1"}, s.argv...)
			if err != nil {
				t.Fatal(err)
			}
			addr, err := c.listening(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			conform.Test(t, addr, conform.Excused[s.name])
			if err := c.stop(); err != nil {
				t.Fatal(err)
			}
			text, _ := c.stdout.get()
			lines := strings.Split(strings.TrimSpace(text), "\n")
			var user, sys int64
			if _, err := fmt.Sscanf(lines[len(lines)-1], "cpu_user_us=%d cpu_sys_us=%d", &user, &sys); err != nil || user+sys <= 0 {
				t.Errorf("printed %q, want CPU time on the last line (%v)", text, err)
			}
		})
	}
}
