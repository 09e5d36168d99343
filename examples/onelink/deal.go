package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// deal is the other side: it sends the jobs on c, all at once, and calls got with each
// result until there are as many. Jobs are written while results are read, as either may
// have to wait for the other.
func deal(c net.Conn, jobs [][]byte, got func(result []byte)) error {
	wrote := make(chan error, 1)
	go func() {
		w := bufio.NewWriter(c)
		for _, job := range jobs {
			_ = binary.Write(w, binary.BigEndian, uint32(len(job))) // Flush has the error
			_, _ = w.Write(job)
		}
		wrote <- w.Flush()
	}()
	r := bufio.NewReader(c)
	for i := range jobs {
		var length uint32
		err := binary.Read(r, binary.BigEndian, &length)
		result := make([]byte, length)
		if err == nil {
			_, err = io.ReadFull(r, result)
		}
		if err != nil {
			c.Close() // ends the writing
			<-wrote
			return fmt.Errorf("%d results to %d jobs: %w", i, len(jobs), err)
		}
		got(result)
	}
	return <-wrote
}
