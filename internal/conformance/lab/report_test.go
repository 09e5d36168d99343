package lab

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

const sample = `guest 6.1.0-56-amd64 2100
begin a
= socket 1
= 9 eor msg "hello"
end a ok
begin b
end b exit status 1: line 3: no verb
begin c
= ok
end c ok
warned c
done 5100
`

func TestParseReport(t *testing.T) {
	got, err := parseReport(sample)
	if err != nil {
		t.Fatal(err)
	}
	want := &Report{
		Release:  "6.1.0-56-amd64",
		Outcomes: map[string][]string{"a": {"socket 1", `9 eor msg "hello"`}, "b": nil, "c": {"ok"}},
		Faults:   map[string]string{"b": "exit status 1: line 3: no verb", "c": "the kernel printed a warning"},
		Boot:     2100 * time.Millisecond,
		Ran:      3 * time.Second,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestReportsRefused(t *testing.T) {
	for what, text := range map[string]string{
		"empty":            "",
		"ends early":       strings.TrimSuffix(sample, "done 5100\n"),
		"ends in a script": sample[:strings.Index(sample, "end b")],
		"a failure":        "guest 6.1 10\nfail load /modules/00-kcm.ko: invalid argument\n",
		"an unknown line":  "hello\n" + sample,
		"no begin":         strings.Replace(sample, "begin a\n", "", 1),
		"no end":           strings.Replace(sample, "end a ok\n", "", 1),
		"another end":      strings.Replace(sample, "end a ok", "end b ok", 1),
		"a bad time":       strings.Replace(sample, "2100", "soon", 1),
	} {
		if r, err := parseReport(text); err == nil {
			t.Errorf("%s: %+v", what, r)
		}
	}
}
