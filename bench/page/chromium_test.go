//go:build chromium

package page

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// measure is appended to a copy of the page: it writes what the browser has drawn.
const measure = `<script>
addEventListener("load", () => {
	const out = { width: innerWidth, scroll: document.documentElement.scrollWidth,
		paper: getComputedStyle(document.body).backgroundColor, figures: [] };
	for (const svg of document.querySelectorAll("figure > svg")) {
		const box = svg.getBoundingClientRect();
		const inside = (e) => { const b = e.getBoundingClientRect();
			return b.left >= box.left - 1 && b.right <= box.right + 1 && b.top >= box.top - 1 && b.bottom <= box.bottom + 1; };
		const seen = (e) => { const b = e.getBoundingClientRect(); return b.width + b.height > 1; };
		const marks = [...svg.querySelectorAll("path.line, path.range")];
		out.figures.push({ title: svg.querySelector("title").textContent, width: box.width, height: box.height,
			lines: marks.length, drawn: marks.filter((e) => seen(e) && getComputedStyle(e).stroke !== "none").length,
			outside: [...svg.querySelectorAll("path, circle, text")].filter((e) => !inside(e)).map((e) => e.outerHTML),
			text: Math.min(...[...svg.querySelectorAll("text")].map((e) => e.getBoundingClientRect().height)),
		});
	}
	document.body.append(Object.assign(document.createElement("pre"), { id: "measured", textContent: JSON.stringify(out) }));
});
</script>`

type measured struct {
	Width, Scroll float64
	Paper         string
	Figures       []struct {
		Title         string
		Width, Height float64
		Lines, Drawn  int
		Outside       []string
		Text          float64
	}
}

var found = regexp.MustCompile(`(?s)<pre id="measured">(.*?)</pre>`)

// open has Chromium open the page in a window of a width, and returns what it measured.
// What the page says to the console is an error. make chromium has the browser.
func open(t *testing.T, page, scheme string, width int) (m measured) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page.html")
	// A window cannot be as narrow as a phone; a frame can.
	inner := filepath.Join(filepath.Dir(file), "inner.html")
	if err := os.WriteFile(inner, []byte(page+measure), 0o644); err != nil {
		t.Fatal(err)
	}
	frame := fmt.Sprintf(`<iframe id="f" style="width:%dpx;height:900px;border:0" src="inner.html"></iframe>
<script>
const f = document.getElementById("f");
f.onload = () => setTimeout(() => document.body.append(f.contentDocument.getElementById("measured")), 50);
</script>`, width)
	if err := os.WriteFile(file, []byte(frame), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args := []string{"--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--enable-logging=stderr", "--v=0",
		"--user-data-dir=" + t.TempDir(), "--window-size=1400,1000", "--virtual-time-budget=5000", "--dump-dom"}
	if scheme == "dark" {
		args = append(args, "--blink-settings=preferredColorScheme=0")
	}
	cmd := exec.CommandContext(ctx, "chromium", append(args, "file://"+file)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	for line := range strings.Lines(stderr.String()) {
		if strings.Contains(line, "CONSOLE") {
			t.Errorf("the console says: %s", line)
		}
	}
	text := found.FindSubmatch(out)
	if text == nil {
		t.Fatalf("nothing was measured: %.2000s\n%s", out, &stderr)
	}
	if err := json.Unmarshal([]byte(html.UnescapeString(string(text[1]))), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestChromiumDrawsThePage opens a page with everything, wide and as on a phone, light and
// dark: every line of every figure is drawn, nothing is outside of its figure, nothing but
// tables scrolls sideways, text can be read.
func TestChromiumDrawsThePage(t *testing.T) {
	page := write(t, full())
	paper := make(map[string]string)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int{1280, 390} {
			m := open(t, page, scheme, width)
			paper[scheme] = m.Paper
			if m.Width != float64(width) || m.Scroll > m.Width {
				t.Errorf("%s: %v wide in a window of %v, want %d", scheme, m.Scroll, m.Width, width)
			}
			if len(m.Figures) != 5 {
				t.Fatalf("%d figures, want 5", len(m.Figures))
			}
			for _, f := range m.Figures {
				if f.Lines == 0 || f.Drawn != f.Lines || f.Width < 300 || f.Height < 50 {
					t.Errorf("%s, %d wide: %s: %d of %d lines, %v by %v", scheme, width, f.Title, f.Drawn, f.Lines, f.Width, f.Height)
				}
				if len(f.Outside) > 0 {
					t.Errorf("%d wide: %s: outside: %s", width, f.Title, f.Outside)
				}
				if f.Text < 10 {
					t.Errorf("%d wide: %s: text of %.1f pixels", width, f.Title, f.Text)
				}
			}
		}
	}
	if paper["light"] == paper["dark"] {
		t.Errorf("light and dark are both %s", paper["light"])
	}
}
