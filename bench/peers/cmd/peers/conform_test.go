//go:build linux

package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kcm-go/kcm/bench/peers/conform"
	"github.com/kcm-go/kcm/bench/peers/echo"
	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

// TestServersConform tests every server that this program starts, except kcm
// itself, as it starts them.
func TestServersConform(t *testing.T) {
	root, err := rig.FindRoot()
	if err != nil {
		t.Fatal(err)
	}
	names := append(echo.Engines(), "c-epoll", "c-uring")
	servers, skipped, err := build(t.Context(), &rig.Builder{Root: root, Dir: t.TempDir()}, names, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range skipped {
		t.Errorf("%s: %s", s.Server, s.Reason)
	}
	cpus, err := rig.AllowedCPUs()
	if err != nil {
		t.Fatal(err)
	}
	starter := rig.NewStarter()
	t.Cleanup(starter.Close)
	for _, s := range servers {
		t.Run(s.Name, func(t *testing.T) {
			c, err := starter.Start(cpus[0], s.Env, s.Argv...)
			if err != nil {
				t.Fatal(err)
			}
			addr, err := c.Listening(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			conform.Test(t, addr, conform.Excused[s.Name])
			if err := c.Stop(); err != nil {
				t.Fatal(err)
			}
			text := c.Stdout()
			lines := strings.Split(strings.TrimSpace(text), "\n")
			var user, sys int64
			if _, err := fmt.Sscanf(lines[len(lines)-1], "cpu_user_us=%d cpu_sys_us=%d", &user, &sys); err != nil || user+sys <= 0 {
				t.Errorf("printed %q, want CPU time on the last line (%v)", text, err)
			}
		})
	}
}
