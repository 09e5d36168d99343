package figures

import (
	"reflect"
	"testing"
)

const procKCM = `*** KCM statistics (2 MUX) ****
Object         RX-Msgs    RX-Bytes         TX-Msgs    TX-Bytes         Recv-Q   Rmem     Send-Q   Smem     Status
mux            0          0                2          18               -        -        -        -        KCMs: 1, Psocks 0
   kcm-0       0          0                0          0                0        0        1        -        TxWait RxWait 
mux            3          27               0          0                -        -        -        -        KCMs: 2, Psocks 1
   kcm-0       1          9                2          18               2        1536     0        -        
   kcm-1       0          0                0          0                0        0        0        -        RxWait 
   psock-0     3          27               0          0                1        768      0        1        RxStop RxWait=5 
`

func TestParseMuxes(t *testing.T) {
	got, err := ParseMuxes(procKCM, false)
	if err != nil {
		t.Fatal(err)
	}
	want := []Mux{
		{Total: "sockets 1 conns 0 tx 2/18", Sockets: []string{"[0 unsent 1 TxWait RxWait]"}},
		{
			Total:   "sockets 2 conns 1 rx 3/27",
			Sockets: []string{"[0 rx 1/9 tx 2/18 queue 2]", "[1 RxWait]"},
			Conns:   []string{"[0 rx 3/27 RxStop RxWait=5]"},
		},
	}
	// The Smem of sockets is "-", so that their columns are those of conns.
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	brief, err := ParseMuxes(procKCM, true)
	if err != nil || brief[1].Total != "sockets 2 conns 1 rx 3" || brief[1].Sockets[0] != "[0 rx 1 tx 2 queue 2]" {
		t.Errorf("brief: %q, %v", brief, err)
	}
	if n, err := CountMuxes(procKCM); n != 2 || err != nil {
		t.Errorf("%d multiplexors, %v", n, err)
	}
	if _, err := ParseMuxes("   kcm-0 0 0 0 0 0 0 0 -\n", false); err == nil {
		t.Error("a socket without a multiplexor is accepted")
	}
}

const procStats = `MUX      RX-Msgs    RX-Bytes         TX-Msgs    TX-Bytes         TX-Retries Attach     Unattach   UnattchRsvd RX-RdyDrops
         3          27               0          0                0          2          0          1          0         
Psock    RX-Msgs    RX-Bytes         TX-Msgs    TX-Bytes         Reserved   Unreserved RX-Aborts  RX-Intr    RX-Unrecov RX-MemFail RX-NeedMor RX-BadLen  RX-TooBig  RX-Timeout TX-Aborts 
         4          36               0          0                0          0          0          0          0          0          0          0          1          0          0         
`

func TestParseTotals(t *testing.T) {
	mux, conns, err := ParseTotals(procStats, false)
	if err != nil {
		t.Fatal(err)
	}
	if want := "rx 3/27 attach 2 unattach-reserved 1"; mux != want {
		t.Errorf("mux %q, want %q", mux, want)
	}
	if want := "rx 4/36 too-big 1"; conns != want {
		t.Errorf("conns %q, want %q", conns, want)
	}
	if _, _, err := ParseTotals("MUX\n", false); err == nil {
		t.Error("one line is accepted")
	}
}
