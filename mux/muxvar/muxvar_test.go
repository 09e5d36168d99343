//go:build linux

package muxvar_test

import (
	"encoding/json"
	"expvar"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/kcm-go/kcm/internal/leak"
	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/mux/muxvar"
	"github.com/kcm-go/kcm/strparser"
)

func TestMain(m *testing.M) { leak.Main(m) }

func newMux(t *testing.T, loops int) *mux.Mux {
	t.Helper()
	m, err := mux.New(mux.Options{Format: strparser.Length32, Loops: loops})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

type published struct {
	Fresh bool
	Mux   mux.Stats
	Loops []mux.LoopSample
}

// What is published can be read as JSON into the types it is made of, at /debug/vars too.
func TestPublish(t *testing.T) {
	m := newMux(t, 2)
	muxvar.Publish("kcm_publish", m)
	t.Cleanup(func() { muxvar.Publish("kcm_publish", nil) })
	srv := httptest.NewServer(http.DefaultServeMux)
	defer srv.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	resp, err := http.Get(srv.URL + "/debug/vars")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var vars struct {
		V published `json:"kcm_publish"`
	}
	if err := json.Unmarshal(body, &vars); err != nil {
		t.Fatalf("%v in\n%s", err, body)
	}
	v := vars.V
	if !v.Fresh || v.Mux != m.Stats() || len(v.Loops) != 2 {
		t.Fatalf("%+v, want the figures of a Mux with 2 loops", v)
	}
	for i, l := range v.Loops {
		o := m.Loops()[i].Options()
		if l.Name != o.Name || l.Backend != m.Loops()[i].Backend() || l.Stats.Buffers != o.Buffers || l.Stats.Turns == 0 {
			t.Errorf("loop %d: %+v, want that of %q with %d buffers", i, l, o.Name, o.Buffers)
		}
	}
}

// A name goes from one Mux to the next, and to nobody.
func TestPublishAgain(t *testing.T) {
	loops := func() int {
		var v *published
		if err := json.Unmarshal([]byte(expvar.Get("kcm_again").String()), &v); err != nil {
			t.Fatal(err)
		}
		if v == nil {
			return 0
		}
		return len(v.Loops)
	}
	first := newMux(t, 1)
	muxvar.Publish("kcm_again", first)
	if n := loops(); n != 1 {
		t.Errorf("%d loops, want 1", n)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if n := loops(); n != 1 {
		t.Errorf("after its end %d loops, want the last figures", n)
	}
	muxvar.Publish("kcm_again", newMux(t, 2))
	if n := loops(); n != 2 {
		t.Errorf("%d loops, want those of the second Mux", n)
	}
	muxvar.Publish("kcm_again", nil)
	if n := loops(); n != 0 {
		t.Errorf("%d loops, want null", n)
	}
}

// A name of somebody else's is not taken from him.
func TestPublishForeignName(t *testing.T) {
	expvar.NewInt("kcm_foreign").Set(7)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		muxvar.Publish("kcm_foreign", nil)
	}()
	if s := expvar.Get("kcm_foreign").String(); s != "7" {
		t.Errorf("the variable is %s", s)
	}
}
