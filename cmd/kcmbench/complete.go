package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

const aboutCompletion = `kcmbench completion prints a script that makes a shell complete commands, flags and the
words that flags take:

  source <(kcmbench completion bash)      in ~/.bashrc
  source <(kcmbench completion zsh)       in ~/.zshrc, after compinit
  kcmbench completion fish | source       in ~/.config/fish/config.fish

The script asks the program what may be the last of the words that follow its name, so it
is never older than the program: kcmbench completion -- WORDS.`

// shells are the scripts. Each passes the words up to the cursor, the last one perhaps
// empty, and gets a candidate per line, or filesLine.
var shells = map[string]string{
	// Bash has its own words, cut at = and : too; candidates replace the last of those.
	// The line is therefore split at white space here, and what is before the last cut
	// taken off the candidates.
	"bash": `_kcmbench() {
	local line=${COMP_LINE:0:COMP_POINT} last got kept
	local -a words
	read -r -a words <<<"$line"
	[[ $line == *[[:space:]] ]] && words+=("")
	last=${words[-1]}
	kept=${last%"${last##*[=:]}"}
	mapfile -t got < <("$1" completion -- "${words[@]:1}" 2>/dev/null)
	COMPREPLY=()
	if [[ ${got[0]} == :files ]]; then
		compopt -o default
	else
		COMPREPLY=("${got[@]#"$kept"}")
		[[ ${#got[@]} == 1 && ${got[0]} == *[=,] ]] && compopt -o nospace
	fi
}
complete -F _kcmbench kcmbench
`,
	"zsh": `_kcmbench() {
	local -a got
	got=("${(@f)$($words[1] completion -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	if [[ $got[1] == :files ]]; then
		_files
	elif [[ $#got == 1 && $got[1] == *[=,] ]]; then
		compadd -Q -S '' -- $got
	else
		compadd -Q -- $got
	fi
}
compdef _kcmbench kcmbench
`,
	"fish": `function __kcmbench
	set -l words (commandline -opc)
	set -l last (commandline -ct)
	set -l got ($words[1] completion -- $words[2..-1] "$last" 2>/dev/null)
	if test "$got[1]" = :files
		__fish_complete_path "$last"
	else
		printf '%s\n' $got
	end
end
complete -c kcmbench -f -a '(__kcmbench)'
`,
}

// filesLine, in place of candidates, says that files are.
const filesLine = ":files"

func runCompletion(_ context.Context, args []string, stdout, _ io.Writer) error {
	if len(args) > 0 && args[0] == "--" {
		for _, c := range candidates(args[1:]) {
			fmt.Fprintln(stdout, c)
		}
		return nil
	}
	f := flag.NewFlagSet("completion", flag.ContinueOnError)
	if err := parseFirst(f, args, stdout, aboutCompletion); err != nil {
		return err
	}
	script, ok := shells[f.Arg(0)]
	if !ok || f.NArg() > 1 {
		return &usageError{errors.New("want bash, zsh or fish")}
	}
	_, err := io.WriteString(stdout, script)
	return err
}

// catcher is an output that has parseFirst leave the flags in it and parse nothing.
type catcher struct {
	io.Writer
	flags *flag.FlagSet
}

// flagsOf returns the flags of a command, nil if there is none of that name.
func flagsOf(name string) *flag.FlagSet {
	c := catcher{Writer: io.Discard}
	if run, ok := commands()[name]; ok {
		_ = run(context.Background(), nil, &c, io.Discard) // flag.ErrHelp
	}
	return c.flags
}

// candidates returns what the last of words may be. The words follow the program's name.
func candidates(words []string) (all []string) {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	words = words[:len(words)-1]
	name := "run"
	switch {
	case len(words) == 0:
		all = matching(slices.Sorted(maps.Keys(commands())), last)
	case !strings.HasPrefix(words[0], "-"):
		name, words = words[0], words[1:]
	}
	f := flagsOf(name)
	if f == nil {
		return nil
	}
	// A flag before takes the last word as its value, unless it has one by = already. It
	// may be a value itself, but then of a flag that has no words.
	if len(words) > 0 {
		if given := words[len(words)-1]; !strings.Contains(given, "=") {
			if g := f.Lookup(flagName(given)); g != nil && !isBool(g) {
				return valuesOf(f, g, last)
			}
		}
	}
	if before, value, ok := strings.Cut(last, "="); ok {
		g := f.Lookup(flagName(before))
		if g == nil {
			return nil
		}
		all = valuesOf(f, g, value)
		if slices.Equal(all, []string{filesLine}) {
			return all
		}
		for i := range all {
			all[i] = before + "=" + all[i]
		}
		return all
	}
	switch {
	case name == "completion":
		return matching(slices.Sorted(maps.Keys(shells)), last)
	case slices.Contains([]string{"compare", "merge", "report"}, name) && !strings.HasPrefix(last, "-"):
		return []string{filesLine}
	}
	var flags []string
	f.VisitAll(func(g *flag.Flag) { flags = append(flags, "-"+g.Name) })
	dashes := ""
	if strings.HasPrefix(last, "--") {
		last, dashes = last[1:], "-"
	}
	for _, c := range matching(flags, last) {
		all = append(all, dashes+c)
	}
	return all
}

func matching(all []string, prefix string) []string {
	return slices.DeleteFunc(all, func(s string) bool { return !strings.HasPrefix(s, prefix) })
}

func isBool(g *flag.Flag) bool {
	b, ok := g.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// choice is what the usage of a flag has between back quotes if the flag takes one of
// some words.
var choice = regexp.MustCompile(`^[a-z0-9]+(, [a-z0-9]+)* or [a-z0-9]+$`)

// valuesOf returns the words that a flag may have and that begin with prefix.
func valuesOf(f *flag.FlagSet, g *flag.Flag, prefix string) []string {
	what, _ := flag.UnquoteUsage(g)
	switch {
	case isBool(g):
		return matching([]string{"false", "true"}, prefix)
	case what == "file":
		return []string{filesLine}
	case choice.MatchString(what):
		return matching(strings.FieldsFunc(strings.Replace(what, " or ", ",", 1), func(r rune) bool { return r == ',' || r == ' ' }), prefix)
	}
	if _, ok := g.Value.(*axes); ok {
		return overs(f, prefix)
	}
	return nil
}

// overs returns what -over may be: a flag and =, or that and one value more.
func overs(f *flag.FlagSet, prefix string) (all []string) {
	name, list, ok := strings.Cut(prefix, "=")
	if !ok {
		f.VisitAll(func(g *flag.Flag) {
			if !notSwept(g.Name) {
				all = append(all, g.Name+"=")
			}
		})
		return matching(all, prefix)
	}
	g := f.Lookup(name)
	if g == nil || notSwept(name) {
		return nil
	}
	before := name + "=" + list[:strings.LastIndexByte(list, ',')+1]
	for _, v := range valuesOf(f, g, prefix[len(before):]) {
		if v != filesLine {
			all = append(all, before+v)
		}
	}
	return all
}
