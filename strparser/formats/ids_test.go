package formats_test

import (
	"bytes"
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
	"github.com/kcm-go/kcm/strparser/formats"
)

// copied makes a message of b, in two elements.
func copied(t testing.TB, al sgmsg.Allocator, b []byte) *sgmsg.Message {
	t.Helper()
	m := new(sgmsg.Message)
	for _, part := range [][]byte{b[:len(b)/2], b[len(b)/2:]} {
		if err := m.AppendCopy(al, part, 0); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// The encoders numbered what they made: see testdata. Numbers that are found are those.
func TestNumbersOfRecordings(t *testing.T) {
	for _, x := range []struct {
		recording string
		field     strparser.IDField
		from, to  int    // messages of the recording
		first     uint64 // number of the first; the others follow one by one
	}{
		{"CQL", formats.CQLIDs.Request, 0, 20, 0},
		{"DNS", formats.DNSIDs.Request, 0, 25, 1},
		{"DNS", formats.DNSIDs.Reply, 0, 25, 1},
		{"Kafka", formats.KafkaIDs.Request, 0, 12, 0},
		{"Kafka-talk", formats.KafkaIDs.Request, 26, 35, 1},
		{"Kafka-talk", formats.KafkaIDs.Reply, 36, 49, 1},
		{"MongoDB", formats.MongoDBIDs.Request, 0, 26, 1},
		{"Thrift", formats.ThriftIDs.Request, 0, 12, 0},
	} {
		al := sgmsg.NewHeap(4 << 20)
		messages := recording(t, x.recording).Messages
		var got, want []uint64
		for i, b := range messages[x.from:x.to] {
			m := copied(t, al, b)
			id, ok := x.field.Get(m)
			if !ok {
				t.Errorf("%s: message %d has no number", x.recording, x.from+i)
			}
			got, want = append(got, id), append(want, x.first+uint64(i))
			m.Release()
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: numbers %d\nwant %d", x.recording, got, want)
		}
	}
}

// A reply of memcached has its request's number, and one of MongoDB that of the message it
// answers.
func TestRepliesOfRecordings(t *testing.T) {
	al := sgmsg.NewHeap(4 << 20)
	get := func(f strparser.IDField, b []byte) uint64 {
		m := copied(t, al, b)
		defer m.Release()
		id, ok := f.Get(m)
		if !ok {
			t.Fatalf("% x has no number", b)
		}
		return id
	}
	pairs := 0
	messages := recording(t, "MemcacheBinary").Messages
	for i := 0; i+1 < len(messages); i++ {
		if messages[i][0] != 0x80 || messages[i+1][0] != 0x81 {
			continue
		}
		pairs++
		ids := formats.MemcacheBinaryIDs
		if a, b := get(ids.Request, messages[i]), get(ids.Reply, messages[i+1]); a != b {
			t.Errorf("memcached: request %d, reply %d", a, b)
		}
	}
	replies := 0
	for i, b := range recording(t, "MongoDB").Messages {
		if id := get(formats.MongoDBIDs.Reply, b); id > 0 {
			replies++
			if id > uint64(i) {
				t.Errorf("MongoDB: message %d answers number %d", i, id)
			}
		}
	}
	if pairs < 10 || replies < 10 {
		t.Errorf("%d pairs of memcached, %d replies of MongoDB", pairs, replies)
	}
}

// What Set changes is the number, and the format finds the same message.
func TestNumbersAreWrittenInPlace(t *testing.T) {
	for _, x := range []struct {
		recording string
		ids       strparser.IDs
	}{
		{"CQL", formats.CQLIDs}, {"DNS", formats.DNSIDs}, {"Kafka", formats.KafkaIDs}, {"MemcacheBinary", formats.MemcacheBinaryIDs},
		{"MongoDB", formats.MongoDBIDs}, {"Thrift", formats.ThriftIDs},
	} {
		al := sgmsg.NewHeap(4 << 20)
		for i, b := range recording(t, x.recording).Messages {
			m := copied(t, al, b)
			f := x.ids.Request
			was, ok := f.Get(m)
			if err := f.Set(m, al, f.Largest()-3); err != nil || !ok {
				t.Fatalf("%s: message %d: %v, %v", x.recording, i, err, ok)
			}
			changed := m.AppendTo(nil)
			differ := 0
			for j := range b {
				if b[j] != changed[j] {
					differ++
				}
			}
			if differ == 0 || differ > f.Width {
				t.Errorf("%s: message %d: %d bytes changed", x.recording, i, differ)
			}
			if err := f.Set(m, al, was&f.Largest()); err != nil {
				t.Fatal(err)
			}
			if was <= f.Largest() && !bytes.Equal(m.AppendTo(nil), b) {
				t.Errorf("%s: message %d is not what it was", x.recording, i)
			}
			m.Release()
		}
	}
}

// The sequence id of Thrift's binary protocol stands behind a name. Both forms, from the
// protocol's description.
func TestThriftNumbers(t *testing.T) {
	al := sgmsg.NewHeap(1 << 20)
	for _, x := range []struct {
		message string
		id      uint64
		ok      bool
	}{
		{hexed("00000013 80010001 00000003") + "put" + hexed("01020304 00"), 0x01020304, true},
		{hexed("00000010 00000003") + "put" + hexed("01 01020304 00"), 0x01020304, true},
		{hexed("0000000c 80010001 00000000 01020304"), 0x01020304, true},
		{hexed("0000000b 80010001 00000000 010203"), 0, false},
		{hexed("0000000c 80020001 00000000 01020304"), 0, false}, // another version
		{hexed("0000000c 80010001 ffffffff 01020304"), 0, false},
		{hexed("0000000c 80010001 7fffffff 01020304"), 0, false},
		{hexed("00000004 80010001"), 0, false},
		{hexed("00000008 7fffffff 01020304"), 0, false},
		{hexed("00000002 8001"), 0, false},
		{hexed("00000004 82210105"), 0, false}, // the compact protocol
	} {
		m := copied(t, al, []byte(x.message))
		if id, ok := formats.ThriftIDs.Reply.Get(m); id != x.id || ok != x.ok {
			t.Errorf("% x: %#x, %v", x.message, id, ok)
		}
		if err := formats.ThriftIDs.Request.Set(m, al, 5); (err == nil) != x.ok || err != nil && !errors.Is(err, syscall.EINVAL) {
			t.Errorf("% x: Set: %v", x.message, err)
		}
		m.Release()
	}
}

// Formats that the parser does not know by themselves say where their numbers are.
func TestFormatsThatKnowTheirNumbers(t *testing.T) {
	for name, want := range map[string]strparser.IDs{"CQL": formats.CQLIDs, "MemcacheBinary": formats.MemcacheBinaryIDs} {
		c, ok := format(t, name).(strparser.Correlated)
		if !ok || c.IDs().Request.Offset != want.Request.Offset || c.IDs().Reply.Width != want.Reply.Width {
			t.Errorf("%s: %v", name, ok)
		}
	}
	for _, ids := range []strparser.IDs{formats.CQLIDs, formats.DNSIDs, formats.KafkaIDs, formats.MemcacheBinaryIDs, formats.MongoDBIDs, formats.ThriftIDs} {
		for _, f := range []strparser.IDField{ids.Request, ids.Reply} {
			if err := f.Check(); err != nil {
				t.Errorf("%+v: %v", f, err)
			}
		}
	}
	if n := formats.CQLIDs.Request.Largest(); n != 32767 {
		t.Errorf("the largest number of CQL is %d", n)
	}
}
