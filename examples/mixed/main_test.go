//go:build linux

package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// serve runs the example and returns where it listens.
func serve(t *testing.T) (addr string) {
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "127.0.0.1:0", in) }()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if a, ok := strings.CutPrefix(lines.Text(), "listening "); ok {
			addr = a
			break
		}
	}
	go io.Copy(io.Discard, out)
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Error("the server did not end")
		}
		in.Close()
	})
	if addr == "" {
		t.Fatal("the server does not say where it listens")
	}
	return addr
}

func TestBothProtocolsOnOnePort(t *testing.T) {
	addr := serve(t)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	echo := func() {
		t.Helper()
		const msg = "\x00\x00\x00\x05hello"
		io.WriteString(c, msg)
		got := make([]byte, len(msg))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != msg {
			t.Fatalf("%q, %v", got, err)
		}
	}
	echo()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	get := func() string {
		t.Helper()
		resp, err := client.Get("http://" + addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	// All on one connection, which is net/http's after the first and is soon not counted.
	const one = "1 connections of messages\n"
	for end := time.Now().Add(20 * time.Second); get() != one; {
		if time.Now().After(end) {
			t.Fatal("the connection of HTTP is counted among those of messages")
		}
	}
	for range 3 {
		if body := get(); body != one {
			t.Errorf("%q", body)
		}
		echo()
	}

	// A request behind a message on the same connection: the reply, then HTTP.
	io.WriteString(c, "\x00\x00\x00\x02hiGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	all, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(all), "\x00\x00\x00\x02hiHTTP/1.1 200 OK\r\n") {
		t.Errorf("%q, %v", all, err)
	}
}
