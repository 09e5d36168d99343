package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/strparser"
)

// drainTime is how long the last results may take to leave.
const drainTime = 5 * time.Second

// work makes one connection to addr and has n workers do the jobs that come on it, until
// the other side closes it or ctx ends. It returns how many each worker did.
func work(ctx context.Context, addr string, n int, do func(worker int, job []byte) []byte) ([]int, error) {
	ended := make(chan error, 1)
	m, err := mux.New(mux.Options{
		Format:  strparser.Length32,
		FlowCap: -1, // any number of the connection's jobs at a time
		OnClose: func(_ *mux.Psock, err error) { ended <- err },
	})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	sockets := make([]*mux.Socket, n)
	for i := range sockets {
		if sockets[i], err = m.OpenSocket(mux.SocketOptions{}); err != nil {
			return nil, err
		}
	}
	if _, err := m.Dial(ctx, "tcp", addr); err != nil {
		return nil, err
	}

	receive, stop := context.WithCancel(ctx)
	defer stop()
	send, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	done, errs := make([]int, n), make([]error, n+1)
	var workers sync.WaitGroup
	for i, s := range sockets {
		workers.Go(func() { done[i], errs[i] = worker(receive, send, i, s, do) })
	}
	select {
	case errs[n] = <-ended:
		abandon() // nobody is there to take results
	case <-ctx.Done():
		defer time.AfterFunc(drainTime, abandon).Stop()
	}
	stop()
	workers.Wait()
	return done, errors.Join(errs...)
}

// worker does jobs until receive ends, and returns when all its results have left, or send
// has ended.
func worker(receive, send context.Context, i int, s *mux.Socket, do func(int, []byte) []byte) (done int, err error) {
	for err == nil && receive.Err() == nil { // Recv gives what is there after the end too
		var r *mux.Received
		if r, err = s.Recv(receive); err != nil {
			break
		}
		r.Msg.TrimFront(strparser.Length32.HeaderLen())
		result := do(i, r.Msg.AppendTo(nil))
		r.Release() // the result may have to wait, and need not keep the job's memory
		err = s.SendPayload(send, result)
		r.Done()
		done++
	}
	if err := s.CloseWithDrain(send); err != nil {
		return done, fmt.Errorf("worker %d: a result was not taken: %w", i, err)
	}
	return done, nil
}

// factorise makes the result of a job, whose text is a number.
func factorise(worker int, job []byte) []byte {
	n, err := strconv.ParseUint(string(job), 10, 64)
	if err != nil || n == 0 {
		return fmt.Appendf(nil, "worker %d: %q is no positive number", worker, job)
	}
	var factors []string
	for rest, p := n, uint64(2); rest > 1; p++ {
		if p*p > rest {
			p = rest
		}
		for ; rest%p == 0; rest /= p {
			factors = append(factors, strconv.FormatUint(p, 10))
		}
	}
	return fmt.Appendf(nil, "worker %d: %d = %s", worker, n, strings.Join(factors, " x "))
}

// numbers makes n jobs, of which every third is done at once.
func numbers(n int) [][]byte {
	jobs := make([][]byte, n)
	for i := range jobs {
		jobs[i] = strconv.AppendInt(nil, int64(i%3)*3_000_000_000_000_000+int64(60+i), 10)
	}
	return jobs
}
