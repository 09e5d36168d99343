package uapi

import (
	"bufio"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// fact is one line of testdata/io_uring.txt.
type fact struct {
	kind, name string
	value      uint64
}

func readFacts(t *testing.T) []fact {
	t.Helper()
	f, err := os.Open("testdata/io_uring.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var facts []fact
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := sc.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		w := strings.Fields(line)
		if len(w) != 3 {
			t.Fatalf("bad line %q", line)
		}
		v, err := strconv.ParseInt(w[2], 10, 64)
		if err != nil {
			t.Fatalf("bad line %q: %v", line, err)
		}
		facts = append(facts, fact{w[0], w[1], uint64(v)})
	}
	return facts
}

// kernelName tells the constants that carry the kernel's spelling from our own.
var kernelName = regexp.MustCompile(`^(IORING|IOSQE|IOU|IO_URING|SOCKET_URING)_`)

// ownConstants evaluates the constants of this package's portable files.
func ownConstants(t *testing.T) map[string]uint64 {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range []string{"setup.go", "enter.go", "entry.go", "ops.go", "register.go", "buffers.go"} {
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	var conf types.Config // no importer: these files import nothing
	pkg, err := conf.Check("uapi", fset, files, nil)
	if err != nil {
		t.Fatal(err)
	}
	consts := make(map[string]uint64)
	for _, name := range pkg.Scope().Names() {
		c, ok := pkg.Scope().Lookup(name).(*types.Const)
		if !ok || !kernelName.MatchString(name) {
			continue
		}
		if v, ok := constant.Uint64Val(c.Val()); ok {
			consts[name] = v
		} else if v, ok := constant.Int64Val(c.Val()); ok {
			consts[name] = uint64(v)
		} else {
			t.Fatalf("%s is not an integer", name)
		}
	}
	return consts
}

// TestConstantsMatchKernel compares every constant that carries a kernel name with
// the kernel's, in both directions.
func TestConstantsMatchKernel(t *testing.T) {
	own := ownConstants(t)
	seen := make(map[string]bool)
	for _, f := range readFacts(t) {
		if f.kind != "const" {
			continue
		}
		if seen[f.name] {
			t.Errorf("%s is listed twice", f.name)
		}
		seen[f.name] = true
		if v, ok := own[f.name]; !ok {
			t.Errorf("%s is missing in the package", f.name)
		} else if v != f.value {
			t.Errorf("%s = %d, the kernel has %d", f.name, int64(v), int64(f.value))
		}
	}
	for name := range own {
		if !seen[name] {
			t.Errorf("%s has no line in testdata", name)
		}
	}
	if len(seen) < 200 {
		t.Errorf("only %d constants compared", len(seen))
	}
}

// layouts names the structures by their kernel names. A field of ours that the
// kernel spells otherwise is in renamed.
var layouts = map[string]any{
	"io_uring_sqe":              SQE{},
	"io_uring_cqe":              CQE{},
	"io_uring_params":           Params{},
	"io_sqring_offsets":         SQOffsets{},
	"io_cqring_offsets":         CQOffsets{},
	"io_uring_getevents_arg":    GetEventsArg{},
	"io_uring_reg_wait":         RegWait{},
	"io_uring_rsrc_register":    RsrcRegister{},
	"io_uring_rsrc_update":      RsrcUpdate{},
	"io_uring_rsrc_update2":     RsrcUpdate2{},
	"io_uring_sync_cancel_reg":  SyncCancelReg{},
	"io_uring_file_index_range": FileIndexRange{},
	"io_uring_probe_op":         ProbeOp{},
	"io_uring_probe":            Probe{},
	"io_uring_recvmsg_out":      RecvmsgOut{},
	"io_uring_buf":              Buf{},
	"io_uring_buf_ring":         Buf{},
	"io_uring_buf_reg":          BufReg{},
	"io_uring_buf_status":       BufStatus{},
	"io_uring_napi":             Napi{},
	"io_uring_clock_register":   ClockRegister{},
	"io_uring_clone_buffers":    CloneBuffers{},
	"io_uring_region_desc":      RegionDesc{},
	"io_uring_mem_region_reg":   MemRegionReg{},
	"io_uring_query_hdr":        QueryHdr{},
	"io_uring_query_opcode":     QueryOpcode{},
	"msghdr":                    MsgHdr{},
	"iovec":                     Iovec{},
	"__kernel_timespec":         Timespec{},
}

var renamed = map[string]string{
	"io_uring_sqe.rw_flags":   "OpFlags",
	"io_uring_params.sq_off":  "SQOffset",
	"io_uring_params.cq_off":  "CQOffset",
	"io_uring_buf.resv":       "Tail",
	"io_uring_region_desc.id": "ID",
}

// TestLayoutsMatchKernel compares sizes and offsets, and that each field of ours
// with a name is in the kernel's list.
func TestLayoutsMatchKernel(t *testing.T) {
	listed := make(map[string]map[string]bool)
	for _, f := range readFacts(t) {
		if f.kind == "const" {
			continue
		}
		name, field, _ := strings.Cut(f.name, ".")
		v, ok := layouts[name]
		if !ok {
			t.Errorf("struct %s is missing in the package", name)
			continue
		}
		typ := reflect.TypeOf(v)
		if listed[name] == nil {
			listed[name] = make(map[string]bool)
		}
		if f.kind == "sizeof" {
			size := uint64(typ.Size())
			if name == "io_uring_probe" {
				size -= uint64(reflect.TypeFor[[256]ProbeOp]().Size()) // a flexible array in C
			}
			if size != f.value {
				t.Errorf("%s has %d bytes, the kernel's %d", typ, size, f.value)
			}
			continue
		}
		want, ok := renamed[f.name]
		if !ok {
			want = strings.TrimPrefix(strings.TrimPrefix(field, "msg_"), "iov_")
			want = strings.TrimPrefix(want, "tv_")
			want = strings.ReplaceAll(want, "_", "")
		}
		sf, ok := typ.FieldByNameFunc(func(s string) bool { return strings.EqualFold(s, want) })
		if !ok {
			t.Errorf("%s has no field for %s", typ, f.name)
			continue
		}
		listed[name][sf.Name] = true
		if f.name == "io_uring_buf_ring.tail" && BufRingTailOffset != f.value {
			t.Errorf("BufRingTailOffset = %d, the kernel's is %d", BufRingTailOffset, f.value)
		}
		if uint64(sf.Offset) != f.value {
			t.Errorf("%s.%s is at %d, the kernel's %s at %d", typ, sf.Name, sf.Offset, f.name, f.value)
		}
	}
	for name, v := range layouts {
		if name == "io_uring_buf_ring" { // an overlay, not a structure of its own
			continue
		}
		typ := reflect.TypeOf(v)
		var sum uintptr
		for i := range typ.NumField() {
			n := typ.Field(i).Name
			sum += typ.Field(i).Type.Size()
			if n == "_" || strings.HasPrefix(n, "Resv") || strings.HasPrefix(n, "Pad") {
				continue
			}
			if !listed[name][n] {
				t.Errorf("%s.%s has no line in testdata", typ, n)
			}
		}
		if sum != typ.Size() { // the kernel's structures spell their padding out
			t.Errorf("%s has %d bytes, its fields %d: a field is too narrow", typ, typ.Size(), sum)
		}
	}
}
