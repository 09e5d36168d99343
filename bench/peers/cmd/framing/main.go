// Command framing compares what it costs to find messages in bytes that have arrived:
// kcm's parser, bufio, and the buffers of gnet and netpoll. See package framing.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/kcm-go/kcm/bench/peers/framing"
)

func main() {
	rounds := flag.Int("rounds", 15, "how often each runs")
	each := flag.Duration("duration", 40*time.Millisecond, "how long each runs in a round")
	flag.Parse()
	if flag.NArg() > 0 || *rounds < 1 || *each <= 0 {
		fmt.Fprintln(os.Stderr, "framing: want positive -rounds and -duration and no arguments")
		os.Exit(2)
	}
	fmt.Printf("%s, GOMAXPROCS %d, chunks of %d bytes, %d rounds of %v\n", runtime.Version(), runtime.GOMAXPROCS(0), framing.ChunkSize, *rounds, *each)
	for _, size := range []int{64, 0, 1024} {
		for _, read := range []bool{false, true} {
			title := fmt.Sprintf("Messages of %d bytes", size)
			if size == 0 {
				title = "Messages of 16 to 112 bytes"
			}
			if read {
				title += ", chunks copied once"
			} else {
				title += ", chunks given"
			}
			rows, err := framing.Compare(size, read, *rounds, *each)
			if err == nil {
				err = framing.Write(os.Stdout, title, rows)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "framing:", err)
				os.Exit(1)
			}
		}
	}
}
