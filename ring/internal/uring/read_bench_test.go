//go:build linux

package uring

import (
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/uapi"
	"github.com/kcm-go/kcm/ring/internal/backend"
)

// BenchmarkRead compares the ways to fill memory from a stream whose sender always
// has more. The time is mostly the sender's; cpu-us is that of the receiving thread.
func BenchmarkRead(b *testing.B) {
	mustHave(b)
	const largest = 1 << 20
	for _, size := range []int{64 << 10, 256 << 10, largest} {
		for _, way := range []struct {
			name  string
			op    uint8
			flags uint32
		}{
			{"recv", uapi.IORING_OP_RECV, 0},
			{"waitall", uapi.IORING_OP_RECV, unix.MSG_WAITALL},
			{"fixed", uapi.IORING_OP_READ_FIXED, 0},
		} {
			b.Run(fmt.Sprintf("%s/%dKiB", way.name, size>>10), func(b *testing.B) {
				r := start(b, 1, 512)
				mem := memory(b, largest)
				if errno := r.fixed.register(r.q.fd, mem); errno != 0 {
					b.Skip(errno)
				}
				fd := source(b, largest)
				if err := r.Attach(fd); err != nil {
					b.Fatal(err)
				}
				events := make([]backend.Event, 8)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				waits, cpu := r.stats.Waits, threadTime(b)
				b.ResetTimer()
				for range b.N {
					for at := 0; at < size; {
						e := r.sqe(way.op, fd, uint64(readKey))
						e.OpFlags, e.Addr, e.Len = way.flags, address(mem[at:]), uint32(size-at)
						n, err := r.Wait(events, -1)
						if err != nil {
							b.Fatal(err)
						}
						for _, e := range events[:n] {
							if e.Res <= 0 {
								b.Fatal(e.Err())
							}
							at += int(e.Res)
						}
					}
				}
				b.StopTimer()
				b.ReportMetric(float64(r.stats.Waits-waits)/float64(b.N), "waits/op")
				b.ReportMetric(float64(threadTime(b)-cpu)/1000/float64(b.N), "cpu-us/op")
			})
		}
	}
}

// source returns a TCP connection whose far end writes n bytes at a time, for ever.
func source(b *testing.B, n int) (fd int) {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			return
		}
		for p := make([]byte, n); err == nil; {
			_, err = c.Write(p)
		}
	}()
	c, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	return int(f.Fd())
}

// threadTime returns the processor time of the calling thread in nanoseconds.
func threadTime(b *testing.B) int64 {
	b.Helper()
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &ru); err != nil {
		b.Fatal(err)
	}
	return ru.Utime.Nano() + ru.Stime.Nano()
}
