package muxengine

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/kcm-go/kcm/internal/leak"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Scripts that wait for time-outs use no processor meanwhile.
	if err := flag.Set("test.parallel", "16"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	leak.Main(m)
}
