package lab

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

func TestNewest(t *testing.T) {
	const search = `linux-image-6.1.0-47-amd64-unsigned - Linux 6.1 for 64-bit PCs
linux-image-6.1.0-9-amd64-unsigned - Linux 6.1 for 64-bit PCs
linux-image-6.1.0-56-amd64-dbg - Debug symbols
linux-image-6.1.0-56-cloud-amd64-unsigned - Linux 6.1 for x86-64 cloud
linux-image-6.1.0-56-rt-amd64-unsigned - Linux 6.1 for 64-bit PCs, PREEMPT_RT
linux-image-6.1.0-55-amd64 - Linux 6.1 for 64-bit PCs (signed)
linux-image-6.1.0-55-amd64-unsigned - Linux 6.1 for 64-bit PCs
linux-image-6.12.111+deb12-amd64-unsigned - Linux 6.12 for 64-bit PCs
linux-image-6.12.107+deb12-amd64-unsigned - Linux 6.12 for 64-bit PCs
linux-image-6.12-amd64-dbg - Debugging symbols
linux-image-6.12.111+deb12-cloud-amd64-unsigned - Linux 6.12 for x86-64 cloud
linux-image-6.16.3-amd64 - Linux 6.16 for 64-bit PCs (signed)
`
	for series, want := range map[string]string{
		"6.1":  "linux-image-6.1.0-55-amd64-unsigned",
		"6.12": "linux-image-6.12.111+deb12-amd64-unsigned",
		"6.16": "linux-image-6.16.3-amd64",
	} {
		if got, err := newest(search, series); got != want || err != nil {
			t.Errorf("%s: %s, %v, want %s", series, got, err, want)
		}
	}
	if got, err := newest(search, "5.10"); err == nil {
		t.Errorf("5.10: %s", got)
	}
}

func TestPayload(t *testing.T) {
	image := make([]byte, 5*512+1000)
	copy(image[magicAt:], "HdrS")
	binary.LittleEndian.PutUint16(image[versionAt:], 0x20f)
	image[setupSectsAt] = 4
	binary.LittleEndian.PutUint32(image[payloadOffsetAt:], 100)
	binary.LittleEndian.PutUint32(image[payloadLengthAt:], 50)
	copy(image[5*512+100:], "payload")
	p, err := payload(image)
	if err != nil || len(p) != 50 || !bytes.HasPrefix(p, []byte("payload")) {
		t.Fatalf("%q, %v", p, err)
	}
	for what, spoil := range map[string]func(b []byte){
		"no magic":    func(b []byte) { b[magicAt] = 'x' },
		"old version": func(b []byte) { b[versionAt], b[versionAt+1] = 0, 2 },
		"too long":    func(b []byte) { binary.LittleEndian.PutUint32(b[payloadLengthAt:], 901) },
		"too far":     func(b []byte) { binary.LittleEndian.PutUint32(b[payloadOffsetAt:], 1<<31) },
		"too short":   func(b []byte) { binary.LittleEndian.PutUint32(b[payloadLengthAt:], 3) },
	} {
		b := bytes.Clone(image)
		spoil(b)
		if _, err := payload(b); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if _, err := payload(image[:headerEnd-1]); err == nil {
		t.Error("an image that is cut off is accepted")
	}
}

func TestDecompressor(t *testing.T) {
	for start, want := range map[string]string{"\x28\xb5\x2f\xfd..": "zstd", "\xfd7zXZ\x00": "xz", "\x1f\x8b": "", "": ""} {
		if got, err := decompressor([]byte(start)); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", start, got, err)
		}
	}
}

func TestParseDepends(t *testing.T) {
	info := "license=GPL\x00depends=strparser,libcrc32c\x00name=kcm\x00"
	if got := strings.Join(parseDepends([]byte(info)), " "); got != "strparser libcrc32c" {
		t.Errorf("got %q", got)
	}
	if got := parseDepends([]byte("depends=\x00name=kcm\x00")); got != nil {
		t.Errorf("got %q of a module that depends on none", got)
	}
}

func TestModuleName(t *testing.T) {
	for file, want := range map[string]string{
		"/a/net/kcm/kcm.ko": "kcm", "nf-tables.ko.xz": "nf_tables", "modules.dep": "", "vmlinuz": "",
	} {
		if got := moduleName(file); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
}

func TestParseTSC(t *testing.T) {
	const cpuinfo = "model name\t: some\nflags\t\t: fpu tsc constant_tsc nonstop_tsc\nbogomips\t: 5192.24\n"
	for text, want := range map[string]int{
		cpuinfo: 2596120,
		strings.Replace(cpuinfo, "constant_tsc", "other", 1): 0,
		strings.Replace(cpuinfo, "5192.24", "fast", 1):       0,
		"": 0,
	} {
		if got := parseTSC(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestClockError(t *testing.T) {
	for _, c := range []struct {
		guest, host time.Duration
		ok          bool
	}{
		{2 * time.Second, 2500 * time.Millisecond, true},
		{time.Second, 2500 * time.Millisecond, true},
		{60 * time.Second, 62 * time.Second, true},
		{60 * time.Second, 30 * time.Second, false},
		{20 * time.Second, 40 * time.Second, false},
	} {
		if err := clockError(c.guest, c.host); (err == nil) != c.ok {
			t.Errorf("%v in %v: %v", c.guest, c.host, err)
		}
	}
}

// The archive is read again by the rules of the format: numbers in hex of eight digits,
// names and contents padded to four bytes.
func TestArchive(t *testing.T) {
	var b bytes.Buffer
	a := archive{w: &b}
	a.dir("dev")
	a.char("dev/console", 5, 1)
	a.file("init", []byte("12345"))
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	field := func(entry []byte, i int) int {
		n := 0
		for _, c := range entry[6+8*i : 6+8*i+8] {
			n = n*16 + strings.IndexByte("0123456789ABCDEF", c)
		}
		return n
	}
	type file struct {
		name         string
		mode         int
		major, minor int
		data         string
	}
	var got []file
	inodes := make(map[int]bool)
	for rest := b.Bytes(); len(rest) > 0; {
		if string(rest[:6]) != "070701" {
			t.Fatalf("no entry at %q", rest)
		}
		nameEnd := 110 + field(rest, 11)
		dataAt := (nameEnd + 3) &^ 3
		dataEnd := dataAt + field(rest, 6)
		f := file{string(rest[110 : nameEnd-1]), field(rest, 1), field(rest, 9), field(rest, 10), string(rest[dataAt:dataEnd])}
		if f.name == "TRAILER!!!" {
			if end := (dataEnd + 3) &^ 3; end != len(rest) {
				t.Errorf("%d bytes after the end", len(rest)-end)
			}
			break
		}
		if n := field(rest, 0); inodes[n] {
			t.Errorf("inode %d twice", n)
		} else {
			inodes[n] = true
		}
		got = append(got, f)
		rest = rest[(dataEnd+3)&^3:]
	}
	want := []file{
		{"dev", modeDir, 0, 0, ""}, {"dev/console", modeChar, 5, 1, ""}, {"init", modeFile, 0, 0, "12345"},
	}
	if len(got) != len(want) {
		t.Fatalf("%d files, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("file %+v, want %+v", got[i], want[i])
		}
	}
}
