//go:build linux

package mux_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
)

// records collects what is logged, as JSON, a line each. Safe for concurrent use.
type records struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *records) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(r, &slog.HandlerOptions{Level: level}))
}

// of returns the records with the text what.
func (r *records) of(t *testing.T, what string) (found []map[string]any) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range bytes.Lines(r.b.Bytes()) {
		var m map[string]any
		if err := json.Unmarshal(l, &m); err != nil {
			t.Fatalf("%v: %s", err, l)
		}
		if m["msg"] == what {
			found = append(found, m)
		}
	}
	return found
}

// has fails the test unless the record has these attributes, and no others but the time.
func has(t *testing.T, rec map[string]any, want map[string]any) {
	t.Helper()
	for k, v := range want {
		if fmt.Sprint(rec[k]) != fmt.Sprint(v) {
			t.Errorf("%s is %v, want %v, in %v", k, rec[k], v, rec)
		}
	}
	for k := range rec {
		if _, ok := want[k]; !ok && k != slog.TimeKey && k != slog.MessageKey {
			t.Errorf("%s is not expected in %v", k, rec)
		}
	}
}

// A connection is told of when it opens and ends, by which loop and Mux, and its loop's
// start and end are told to the same Logger.
func TestLogOfConnections(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		var log records
		gone := make(chan error, 1)
		m := newMux(t, mux.Options{
			Name: "shop", Logger: log.logger(slog.LevelDebug), Loops: 1, Ring: ring.Options{Backend: b},
			OnClose: func(_ *mux.Psock, err error) { gone <- err },
		}, echo)
		if m.Name() != "shop" || m.Loops()[0].Options().Name != "shop/0" {
			t.Errorf("the Mux is called %q, its loop %q", m.Name(), m.Loops()[0].Options().Name)
		}
		p, c := attach(t, m)
		remote := p.RemoteAddr().String()
		if err := pipeline(c, 1, 3, 1, 100); err != nil {
			t.Fatal(err)
		}
		c.Close()
		within(t, "an orderly end", gone)
		_, c = attach(t, m)
		remote2 := c.LocalAddr().String()
		c.Write([]byte{0, 0, 0, 9, 'c', 'u', 't'})
		c.Close()
		cause := within(t, "an end inside a message", gone)
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		opened, ended := log.of(t, "connection opened"), log.of(t, "connection ended")
		if len(opened) != 2 || len(ended) != 2 {
			t.Fatalf("%d opened, %d ended, want 2 each:\n%s", len(opened), len(ended), log.b.String())
		}
		has(t, opened[0], map[string]any{"level": "DEBUG", "mux": "shop", "loop": "shop/0", "psock": 0, "remote": remote})
		has(t, ended[0], map[string]any{"level": "DEBUG", "mux": "shop", "loop": "shop/0", "psock": 0, "remote": remote})
		has(t, ended[1], map[string]any{"level": "INFO", "mux": "shop", "loop": "shop/0", "psock": 0, "remote": remote2,
			"cause": cause.(*mux.PsockError).Cause})
		started, over := log.of(t, "loop started"), log.of(t, "loop ended")
		if len(started) != 1 || len(over) != 1 {
			t.Fatalf("%d loops started, %d ended", len(started), len(over))
		}
		has(t, started[0], map[string]any{"level": "INFO", "loop": "shop/0", "backend": m.Loops()[0].Backend()})
		has(t, over[0], map[string]any{"level": "INFO", "loop": "shop/0"})
	})
}

// A panic of a handler is an error and has its stack.
func TestLogOfAPanic(t *testing.T) {
	var log records
	gone := make(chan error, 1)
	m := newMux(t, mux.Options{
		Name: "shop", Logger: log.logger(slog.LevelInfo), Loops: 1,
		OnClose: func(_ *mux.Psock, err error) { gone <- err },
	}, func(*mux.Psock, *sgmsg.Message) mux.Verdict { panic("no stock") })
	_, c := attach(t, m)
	c.Write(frame([]byte("buy")))
	within(t, "the end", gone)
	ended := log.of(t, "connection ended")
	if len(ended) != 1 || ended[0]["level"] != "ERROR" || ended[0]["cause"] != "handler panicked: no stock" ||
		!strings.Contains(fmt.Sprint(ended[0]["stack"]), "TestLogOfAPanic") {
		t.Errorf("%v", ended)
	}
	if n := len(log.of(t, "connection opened")); n != 0 {
		t.Errorf("%d records below the level", n)
	}
}

// What was refused, and what could not be made.
func TestLogOfConnectionsThatNeverWere(t *testing.T) {
	var log records
	m, addr := server(t, mux.Options{Name: "shop", Logger: log.logger(slog.LevelDebug), Loops: 1, MaxPsocks: 1}, echo)
	if call(t, addr) == nil {
		t.Fatal("the first is refused")
	}
	if call(t, addr) != nil {
		t.Fatal("the second is not refused")
	}
	refused := log.of(t, "connection refused")
	if len(refused) != 1 {
		t.Fatalf("%d records, want 1", len(refused))
	}
	has(t, refused[0], map[string]any{"level": "WARN", "mux": "shop", "loop": "shop/0", "address": addr})

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if _, err := m.Dial(context.Background(), "tcp", ln.Addr().String()); err == nil {
		t.Fatal("Dial to a port that nobody listens on succeeds")
	}
	failed := log.of(t, "connection failed")
	if len(failed) != 1 {
		t.Fatalf("%d records, want 1", len(failed))
	}
	if cause := fmt.Sprint(failed[0]["cause"]); !strings.Contains(cause, "connection refused") {
		t.Errorf("cause: %s", cause)
	}
	delete(failed[0], "cause")
	has(t, failed[0], map[string]any{"level": "INFO", "mux": "shop", "loop": "shop/0", "psock": 1, "remote": ln.Addr()})
}

// However fast connections come and go, the log does not grow with them.
func TestLogOfAFloodIsBounded(t *testing.T) {
	var log records
	var left sync.WaitGroup
	const n = 600
	left.Add(n)
	_, addr := server(t, mux.Options{Logger: log.logger(slog.LevelDebug), Loops: 1, OnClose: func(*mux.Psock, error) { left.Done() }}, echo)
	for range n {
		dial(t, addr).Close()
	}
	left.Wait()
	opened := log.of(t, "connection opened")
	var out float64
	for _, r := range opened {
		l, _ := r["left_out"].(float64)
		out += l
	}
	if told := len(opened); told < 100 || told+int(out) > n || told == n {
		t.Errorf("%d of %d told, %v left out", told, n, out)
	}
}

// Loops have the Logger of their Mux, unless they have one of their own.
func TestLoggerOfLoops(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError}))
	m := newMux(t, mux.Options{Logger: log, Loops: 1}, echo)
	if m.Loops()[0].Options().Logger != log {
		t.Error("the loop has another Logger")
	}
	other := slog.New(slog.DiscardHandler)
	m = newMux(t, mux.Options{Logger: log, Loops: 1, Ring: ring.Options{Logger: other}}, echo)
	if m.Loops()[0].Options().Logger != other {
		t.Error("the loop has not the Logger it was given")
	}
}
