//go:build amd64 || arm64

package uapi

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// testRing is the least that talks to a ring: no batching, one entry at a time.
type testRing struct {
	t              testing.TB
	fd             int
	p              Params
	mem            RingMem
	sqTail         *atomic.Uint32
	cqHead, cqTail *atomic.Uint32
	array          []uint32
	sqes           []SQE
	cqes           []CQE
}

// newRing sets a ring up and takes it down at the end of the test. It locks the
// goroutine to its thread, as a ring with one issuer needs. A kernel that refuses
// io_uring altogether skips the test; so does one that lacks a flag newer than 6.1.
func newRing(t testing.TB, flags uint32) *testRing {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	r := &testRing{t: t, p: Params{Flags: flags}}
	fd, errno := Setup(8, &r.p)
	switch {
	case errno == syscall.ENOSYS || errno == syscall.EPERM:
		t.Skipf("io_uring is refused here: %v", errno)
	case errno == syscall.EINVAL && flags&^(IORING_SETUP_DEFER_TASKRUN<<1-1) != 0:
		t.Skipf("this kernel lacks a set-up flag of %#x", flags)
	case errno != 0:
		t.Fatalf("Setup: %v", errno)
	}
	r.fd = fd
	t.Cleanup(func() { unix.Close(fd) })
	mem, err := MapRings(fd, &r.p)
	if err != nil {
		t.Fatal(err)
	}
	r.mem = mem
	t.Cleanup(func() {
		if err := r.mem.Unmap(); err != nil {
			t.Error(err)
		}
	})
	r.sqTail = At[atomic.Uint32](mem.SQ, int(r.p.SQOffset.Tail))
	r.cqHead = At[atomic.Uint32](mem.CQ, int(r.p.CQOffset.Head))
	r.cqTail = At[atomic.Uint32](mem.CQ, int(r.p.CQOffset.Tail))
	r.sqes = Slice[SQE](mem.SQEs, 0, int(r.p.SQEntries))
	r.cqes = Slice[CQE](mem.CQ, int(r.p.CQOffset.Cqes), int(r.p.CQEntries))
	if flags&IORING_SETUP_NO_SQARRAY == 0 {
		r.array = Slice[uint32](mem.SQ, int(r.p.SQOffset.Array), int(r.p.SQEntries))
		for i := range r.array {
			r.array[i] = uint32(i)
		}
	}
	return r
}

func (r *testRing) push(e SQE) {
	tail := r.sqTail.Load()
	r.sqes[tail&(r.p.SQEntries-1)] = e
	r.sqTail.Store(tail + 1)
}

func (r *testRing) pop() CQE {
	r.t.Helper()
	head := r.cqHead.Load()
	if head == r.cqTail.Load() {
		r.t.Fatal("no completion")
	}
	c := r.cqes[head&(r.p.CQEntries-1)]
	r.cqHead.Store(head + 1)
	return c
}

// nop submits one NOP with EnterRaw and checks what comes back.
func (r *testRing) nop(user uint64, flags uint32) {
	r.t.Helper()
	r.push(SQE{Opcode: IORING_OP_NOP, UserData: user})
	fd := r.fd
	if n, errno := EnterRaw(fd, 1, flags|IORING_ENTER_GETEVENTS); n != 1 || errno != 0 {
		r.t.Fatalf("EnterRaw = %d, %v", n, errno)
	}
	if c := r.pop(); c.UserData != user || c.Res != 0 || c.Flags != 0 {
		r.t.Fatalf("completion %+v, want user data %d", c, user)
	}
}

func TestRingNop(t *testing.T) {
	const one = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN
	for _, c := range []struct {
		name  string
		flags uint32
	}{
		{"plain", 0},
		{"defer", one},
		{"disabled", one | IORING_SETUP_R_DISABLED},
		{"big", IORING_SETUP_SQE128 | IORING_SETUP_CQE32},
		{"noarray", one | IORING_SETUP_NO_SQARRAY},
		{"mixed", one | IORING_SETUP_CQE_MIXED},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRing(t, c.flags)
			if r.p.SQEntries != 8 || r.p.CQEntries != 16 || r.p.Features&IORING_FEAT_EXT_ARG == 0 {
				t.Fatalf("granted %+v", r.p)
			}
			if c.flags&IORING_SETUP_R_DISABLED != 0 {
				if _, errno := EnterRaw(r.fd, 0, 0); errno != syscall.EBADFD {
					t.Errorf("EnterRaw on a disabled ring: %v, want EBADFD", errno)
				}
				if errno := EnableRings(r.fd); errno != 0 {
					t.Fatalf("EnableRings: %v", errno)
				}
			}
			if c.name == "big" { // entries of another size: the first is enough
				r.nop(1, 0)
				return
			}
			for i := range uint64(40) { // round both rings
				r.nop(i, 0)
			}
		})
	}
}

// onePage returns a page outside the heap that is gone at the end of the test.
func onePage(t testing.TB) []byte {
	t.Helper()
	b, err := MmapAnon(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Munmap(b); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestEnterWaitTimeout(t *testing.T) {
	r := newRing(t, IORING_SETUP_SINGLE_ISSUER|IORING_SETUP_DEFER_TASKRUN)
	mem := onePage(t)
	ts := At[Timespec](mem, 0)
	*ts = Timespec{Nsec: 1000}
	arg := At[GetEventsArg](mem, 64)
	*arg = GetEventsArg{Ts: Addr(ts)}

	n, errno := EnterWait(r.fd, 0, 1, IORING_ENTER_GETEVENTS, arg)
	for errno == syscall.EINTR { // a signal of the Go runtime
		n, errno = EnterWait(r.fd, 0, 1, IORING_ENTER_GETEVENTS, arg)
	}
	if n != 0 || errno != syscall.ETIME {
		t.Errorf("EnterWait with nothing to come = %d, %v; want ETIME", n, errno)
	}
	r.push(SQE{Opcode: IORING_OP_NOP, UserData: 5})
	if n, errno := EnterWait(r.fd, 1, 1, IORING_ENTER_GETEVENTS, arg); n != 1 || errno != 0 {
		t.Errorf("EnterWait = %d, %v", n, errno)
	}
	if c := r.pop(); c.UserData != 5 {
		t.Errorf("completion %+v", c)
	}
	r.push(SQE{Opcode: IORING_OP_NOP, UserData: 6})
	if n, errno := EnterWait(r.fd, 1, 1, IORING_ENTER_GETEVENTS, nil); n != 1 || errno != 0 {
		t.Errorf("EnterWait without argument = %d, %v", n, errno)
	}
	if c := r.pop(); c.UserData != 6 {
		t.Errorf("completion %+v", c)
	}
	if _, errno := EnterWait(-1, 0, 0, 0, nil); errno != syscall.EBADF {
		t.Errorf("EnterWait on no descriptor: %v", errno)
	}
}

func TestEnterWaitReg(t *testing.T) {
	r := newRing(t, IORING_SETUP_SINGLE_ISSUER|IORING_SETUP_DEFER_TASKRUN|IORING_SETUP_R_DISABLED)
	region, mem := onePage(t), onePage(t)
	desc := At[RegionDesc](mem, 0)
	*desc = RegionDesc{UserAddr: Addr(&region[0]), Size: uint64(len(region)), Flags: IORING_MEM_REGION_TYPE_USER}
	reg := MemRegionReg{RegionUptr: Addr(desc), Flags: IORING_MEM_REGION_REG_WAIT_ARG}
	if _, errno := RegisterArg(r.fd, IORING_REGISTER_MEM_REGION, &reg, 1); errno == syscall.EINVAL && !atLeast(6, 13) {
		t.Skip("this kernel has no registered waits")
	} else if errno != 0 {
		t.Fatalf("register region: %v", errno)
	}
	if errno := EnableRings(r.fd); errno != 0 {
		t.Fatalf("EnableRings: %v", errno)
	}
	const slot = 2
	*At[RegWait](region, slot*64) = RegWait{Ts: Timespec{Nsec: 1000}, Flags: IORING_REG_WAIT_TS}
	_, errno := EnterWaitReg(r.fd, 0, 1, IORING_ENTER_GETEVENTS, slot*64)
	for errno == syscall.EINTR {
		_, errno = EnterWaitReg(r.fd, 0, 1, IORING_ENTER_GETEVENTS, slot*64)
	}
	if errno != syscall.ETIME {
		t.Errorf("EnterWaitReg = %v, want ETIME", errno)
	}
	r.push(SQE{Opcode: IORING_OP_NOP, UserData: 9})
	if n, errno := EnterWaitReg(r.fd, 1, 1, IORING_ENTER_GETEVENTS, slot*64); n != 1 || errno != 0 {
		t.Errorf("EnterWaitReg = %d, %v", n, errno)
	}
	if c := r.pop(); c.UserData != 9 {
		t.Errorf("completion %+v", c)
	}
}

func TestEnterDoesNotAllocate(t *testing.T) {
	r := newRing(t, IORING_SETUP_SINGLE_ISSUER|IORING_SETUP_DEFER_TASKRUN)
	ts := At[Timespec](onePage(t), 0)
	*ts = Timespec{Nsec: 1}
	var last syscall.Errno
	if n := testing.AllocsPerRun(100, func() {
		r.push(SQE{Opcode: IORING_OP_NOP})
		EnterRaw(r.fd, 1, IORING_ENTER_GETEVENTS)
		r.pop()
		arg := GetEventsArg{Ts: Addr(ts)}
		_, last = EnterWait(r.fd, 0, 1, IORING_ENTER_GETEVENTS, &arg) // fails: ETIME
		var status BufStatus
		RegisterArg(r.fd, IORING_REGISTER_PBUF_STATUS, &status, 1) // fails: ENOENT
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if last != syscall.ETIME && last != syscall.EINTR {
		t.Errorf("EnterWait: %v", last)
	}
}

func TestRegisterRing(t *testing.T) {
	r := newRing(t, IORING_SETUP_SINGLE_ISSUER|IORING_SETUP_DEFER_TASKRUN)
	index, errno := RegisterRing(r.fd)
	if errno != 0 {
		t.Fatalf("RegisterRing: %v", errno)
	}
	second := newRing(t, 0)
	other, errno := RegisterRing(second.fd)
	if errno != 0 || other == index {
		t.Fatalf("RegisterRing of a second ring = %d, %v; the first has %d", other, errno, index)
	}
	if errno := UnregisterRing(second.fd, other); errno != 0 {
		t.Errorf("UnregisterRing of the second: %v", errno)
	}
	real := r.fd
	r.fd = index
	r.nop(3, IORING_ENTER_REGISTERED_RING)
	if r.p.Features&IORING_FEAT_REG_REG_RING != 0 {
		p := new(Probe)
		if _, errno := RegisterArg(index, IORING_REGISTER_PROBE|IORING_REGISTER_USE_REGISTERED_RING, p, 256); errno != 0 {
			t.Errorf("probe through index %d: %v", index, errno)
		} else if !p.Supports(IORING_OP_NOP) {
			t.Error("probe through a registered ring is empty")
		}
	}
	if errno := UnregisterRing(real, index); errno != 0 {
		t.Errorf("UnregisterRing: %v", errno)
	}
	if _, errno := EnterRaw(index, 0, IORING_ENTER_REGISTERED_RING); errno != syscall.EBADF {
		t.Errorf("enter by an index given back: %v, want EBADF", errno)
	}
}

// TestProvidedBuffers receives from a socket pair into provided buffers, with the
// ring in our memory and in the kernel's.
func TestProvidedBuffers(t *testing.T) {
	for _, flags := range []uint16{0, IOU_PBUF_RING_MMAP} {
		t.Run(fmt.Sprintf("flags=%d", flags), func(t *testing.T) {
			const group, entries, bid = 3, 4, 0x1234
			r := newRing(t, IORING_SETUP_SINGLE_ISSUER|IORING_SETUP_DEFER_TASKRUN)
			reg := BufReg{RingEntries: entries, Bgid: group, Flags: flags}
			var bufs []byte
			if flags == 0 {
				bufs = onePage(t)
				reg.RingAddr = Addr(&bufs[0])
			}
			if errno := RegisterBufRing(r.fd, &reg); errno == syscall.EINVAL && flags != 0 && !atLeast(6, 4) {
				t.Skip("this kernel does not map buffer rings")
			} else if errno != 0 {
				t.Fatalf("RegisterBufRing: %v", errno)
			}
			if errno := RegisterBufRing(r.fd, &reg); errno != syscall.EEXIST {
				t.Errorf("second RegisterBufRing: %v, want EEXIST", errno)
			}
			if flags != 0 {
				var err error
				if bufs, err = MmapBufRing(r.fd, group, entries); err != nil {
					t.Fatal(err)
				}
				defer Munmap(bufs)
			}
			data := onePage(t)
			ring := Slice[Buf](bufs, 0, entries)
			ring[0].Addr, ring[0].Len = Addr(&data[0]), 16
			tail := At[atomic.Uint32](bufs, BufRingTailOffset-2)
			tail.Store(1<<16 | bid)

			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fds[0])
			defer unix.Close(fds[1])
			if _, err := unix.Write(fds[1], []byte("hello")); err != nil {
				t.Fatal(err)
			}
			r.push(SQE{Opcode: IORING_OP_RECV, Flags: IOSQE_BUFFER_SELECT, Ioprio: IORING_RECV_MULTISHOT,
				Fd: int32(fds[0]), BufIndex: group, UserData: 1})
			if n, errno := EnterWait(r.fd, 1, 1, IORING_ENTER_GETEVENTS, nil); n != 1 || errno != 0 {
				t.Fatalf("EnterWait = %d, %v", n, errno)
			}
			c := r.pop()
			if c.Res != 5 || c.Flags&IORING_CQE_F_BUFFER == 0 || c.BufferID() != bid {
				t.Fatalf("completion %+v", c)
			}
			if got := string(data[:5]); got != "hello" {
				t.Errorf("received %q", got)
			}
			if errno := UnregisterBufRing(r.fd, group); errno != 0 {
				t.Errorf("UnregisterBufRing: %v", errno)
			}
			if errno := UnregisterBufRing(r.fd, group); errno == 0 {
				t.Error("second UnregisterBufRing succeeded")
			}
		})
	}
}

// TestFixed writes to a socket from a fixed buffer through a fixed file.
func TestFixed(t *testing.T) {
	r := newRing(t, 0)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	mem := onePage(t)
	copy(mem[100:], "fixed")
	if errno := RegisterBuffers(r.fd, []Iovec{{Base: Addr(&mem[0]), Len: uint64(len(mem))}}); errno != 0 {
		t.Fatalf("RegisterBuffers: %v", errno)
	}
	if errno := RegisterFiles(r.fd, []int32{-1, int32(fds[0])}); errno != 0 {
		t.Fatalf("RegisterFiles: %v", errno)
	}
	r.push(SQE{Opcode: IORING_OP_WRITE_FIXED, Flags: IOSQE_FIXED_FILE, Fd: 1, Addr: Addr(&mem[100]), Len: 5})
	if n, errno := EnterWait(r.fd, 1, 1, IORING_ENTER_GETEVENTS, nil); n != 1 || errno != 0 {
		t.Fatalf("EnterWait = %d, %v", n, errno)
	}
	if c := r.pop(); c.Res != 5 {
		t.Fatalf("completion %+v", c)
	}
	var got [8]byte
	if n, err := unix.Read(fds[1], got[:]); err != nil || string(got[:n]) != "fixed" {
		t.Errorf("read %q, %v", got[:n], err)
	}
	if errno := UnregisterBuffers(r.fd); errno != 0 {
		t.Errorf("UnregisterBuffers: %v", errno)
	}
	if errno := UnregisterBuffers(r.fd); errno != syscall.ENXIO {
		t.Errorf("second UnregisterBuffers: %v, want ENXIO", errno)
	}
}

func TestSyncCancel(t *testing.T) {
	r := newRing(t, 0)
	reg := SyncCancelReg{Addr: 77, Timeout: Timespec{Sec: -1, Nsec: -1}}
	if _, errno := RegisterArg(r.fd, IORING_REGISTER_SYNC_CANCEL, &reg, 1); errno != syscall.ENOENT {
		t.Errorf("cancel of nothing: %v, want ENOENT", errno)
	}
}

// TestProbe asks the kernel for what the floor of this module, Linux 6.1, has.
func TestProbe(t *testing.T) {
	r := newRing(t, 0)
	p, errno := ProbeOps(r.fd)
	if errno != 0 {
		t.Fatalf("ProbeOps: %v", errno)
	}
	if atLeast(6, 1) {
		for _, op := range []uint8{IORING_OP_NOP, IORING_OP_ACCEPT, IORING_OP_RECV, IORING_OP_MSG_RING, IORING_OP_SENDMSG_ZC} {
			if !p.Supports(op) {
				t.Errorf("operation %d is not supported", op)
			}
		}
	}
	if p.Supports(255) {
		t.Error("operation 255 is supported")
	}
	if int(p.LastOp) != int(p.OpsLen)-1 {
		t.Errorf("last operation %d of %d", p.LastOp, p.OpsLen)
	}
}

// TestQuery holds the constants against the running kernel: a mask of everything
// Linux 6.18 knows must equal ours there and contain ours on a newer kernel.
func TestQuery(t *testing.T) {
	newRing(t, 0) // skips where io_uring is refused
	q, err := Query()
	if errors.Is(err, syscall.EINVAL) && !atLeast(6, 18) {
		t.Skip("this kernel has no query")
	}
	if err != nil {
		t.Fatal(err)
	}
	exact := atLeast(6, 18) && !atLeast(6, 19)
	for _, c := range []struct {
		name         string
		ours, theirs uint64
	}{
		{"features", uint64(IORING_FEAT_NO_IOWAIT)<<1 - 1, q.FeatureFlags},
		{"set-up flags", uint64(IORING_SETUP_CQE_MIXED)<<1 - 1, q.RingSetupFlags},
		{"enter flags", uint64(IORING_ENTER_NO_IOWAIT)<<1 - 1, q.EnterFlags},
		{"entry flags", uint64(IOSQE_CQE_SKIP_SUCCESS)<<1 - 1, q.SqeFlags},
	} {
		if c.ours&^c.theirs != 0 || exact && c.ours != c.theirs {
			t.Errorf("%s: ours %#x, the kernel's %#x", c.name, c.ours, c.theirs)
		}
	}
	if q.NrRequestOpcodes < uint32(IORING_OP_LAST) || exact && q.NrRequestOpcodes != uint32(IORING_OP_LAST) {
		t.Errorf("%d operations, ours end at %d", q.NrRequestOpcodes, IORING_OP_LAST)
	}
	if q.NrRegisterOpcodes < IORING_REGISTER_LAST || exact && q.NrRegisterOpcodes != IORING_REGISTER_LAST {
		t.Errorf("%d register operations, ours end at %d", q.NrRegisterOpcodes, IORING_REGISTER_LAST)
	}
}

func TestSetupErrors(t *testing.T) {
	newRing(t, 0) // skips where io_uring is refused
	if fd, errno := Setup(8, &Params{Flags: 1 << 31}); fd != -1 || errno != syscall.EINVAL {
		t.Errorf("Setup with an unknown flag = %d, %v; want EINVAL", fd, errno)
	}
	// -1 would mean "without a ring" since 6.13.
	if errno := Register(1<<30, IORING_REGISTER_PROBE, unsafe.Pointer(new(Probe)), 256); errno != syscall.EBADF {
		t.Errorf("Register on no descriptor: %v, want EBADF", errno)
	}
	if errno := Register(1<<30, IORING_REGISTER_PROBE|IORING_REGISTER_USE_REGISTERED_RING, nil, 0); errno != syscall.EINVAL {
		t.Errorf("Register with a flag: %v, want EINVAL", errno)
	}
	if _, err := MapRings(-1, &Params{SQEntries: 8, CQEntries: 16}); !errors.Is(err, syscall.EBADF) {
		t.Errorf("MapRings on no descriptor: %v, want EBADF", err)
	}
	if _, err := MapRings(0, &Params{Flags: IORING_SETUP_NO_MMAP}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("MapRings without mappings: %v, want EINVAL", err)
	}
}

// atLeast compares the running kernel's version. It decides only whether a missing
// feature is a failure.
func atLeast(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var a, b int
	fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &a, &b)
	return a > major || a == major && b >= minor
}
