package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// example is a command line in a text; what the shell does with the rest is cut off.
var example = regexp.MustCompile(`(?m)^(?://)?[ \t]+(kcmbench(?: .*)?)$`)

// comment begins what is no longer the command.
var comment = regexp.MustCompile(`  +[^-"A-Z].*| [#&|>].*`)

// examplesOf returns the command lines in a text, as words.
func examplesOf(text string) (all [][]string) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	for _, m := range example.FindAllStringSubmatch(text, -1) {
		line := regexp.MustCompile(` {2,}-`).ReplaceAllString(m[1], " -") // continued
		var words []string
		for i, part := range strings.Split(comment.ReplaceAllString(line, ""), `"`) {
			if i%2 == 1 {
				words = append(words, part)
			} else {
				words = append(words, strings.Fields(part)...)
			}
		}
		all = append(all, words[1:])
	}
	return all
}

func TestExamplesOf(t *testing.T) {
	got := examplesOf("x kcmbench no\n  kcmbench run -a 1    what it does\n//\tkcmbench -a \"b c\" d &\n    kcmbench run \\\n      -x  # why\n\tkcmbench\n")
	want := [][]string{{"run", "-a", "1"}, {"-a", "b c", "d"}, {"run", "-x"}, {}}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Every command line that is shown has a command and flags that there are, with values
// they can have; -h of every command shows some, and says what its words mean or what
// comes out.
func TestExamples(t *testing.T) {
	texts := map[string]string{"-h": usage}
	for name := range commands() {
		_, help, _ := invoke(t, name, "-h")
		about, _, _ := strings.Cut(help, "\nFlags:")
		texts[name+" -h"] = about
		if name != "completion" && !slices.ContainsFunc(examplesOf(about), func(words []string) bool { return len(words) > 0 && words[0] == name }) {
			t.Errorf("%s -h has no example:\n%s", name, about)
		}
		if !strings.Contains(usage, "kcmbench "+name+" ") {
			t.Errorf("-h does not name %s", name)
		}
	}
	for _, file := range []string{"doc.go", "../../docs/kcmbench.md", "../../README.md"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(b)
	}
	n := 0
	for where, text := range texts {
		for _, words := range examplesOf(text) {
			name, args := "run", words
			if len(words) > 0 && !strings.HasPrefix(words[0], "-") {
				name, args = words[0], words[1:]
			}
			if len(args) > 0 && (args[0] == "[flags]" || args[0] == "[-json]") {
				continue // how a command is called
			}
			f := flagsOf(name)
			if f == nil {
				t.Errorf("%s: %q: no command %s", where, words, name)
				continue
			}
			if _, err := parseFiles(f, args, &strings.Builder{}, ""); err != nil && !strings.Contains(err.Error(), "no such file") {
				t.Errorf("%s: %q: %v", where, words, err)
			}
			n++
		}
	}
	if n < 30 {
		t.Errorf("%d examples", n)
	}
}
