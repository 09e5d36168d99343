package bench

import (
	"encoding/json"
	"fmt"
	"os"
)

// ReadReport reads a file that WriteJSON has written. The error says that it is none, or
// of a version that this program does not know.
func ReadReport(file string) (*Report, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var version struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if version.Schema != Schema {
		return nil, fmt.Errorf("%s: schema %d, want %d", file, version.Schema, Schema)
	}
	r := new(Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if r.Histograms[LatencyName] == nil {
		return nil, fmt.Errorf("%s: no histogram of latencies: it is no report of a run, or of an older kcmbench", file)
	}
	return r, nil
}
