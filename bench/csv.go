package bench

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// WriteCSV writes the report as two lines of CSV, names and values: each figure of the
// JSON that is no list, with a dot between the keys of nested ones (latency_us.p99). A
// class has its name in place of its number (classes.10us.latency_us.p99). Series and
// histograms are left out. Runs with the same flags have the same names.
func (r *Report) WriteCSV(w io.Writer) error {
	short := *r
	short.Series, short.Histograms = nil, nil
	b, err := json.Marshal(&short)
	if err != nil {
		return err
	}
	var t table
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := t.value(d, ""); err != nil {
		return err
	}
	c := csv.NewWriter(w)
	_ = c.Write(t.names) // Flush keeps the error
	_ = c.Write(t.values)
	c.Flush()
	return c.Error()
}

// table is JSON laid flat.
type table struct{ names, values []string }

// value lays the next value of d flat, under a name.
func (t *table) value(d *json.Decoder, name string) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return err
			}
			if err := t.value(d, strings.TrimPrefix(name+"."+key.(string), ".")); err != nil {
				return err
			}
		}
	case json.Delim('['):
		for d.More() {
			var item table
			if err := item.value(d, ""); err != nil {
				return err
			}
			t.item(name, item)
		}
	default:
		if token != nil {
			t.names, t.values = append(t.names, name), append(t.values, fmt.Sprint(token))
		}
		return nil
	}
	_, err = d.Token() // the end
	return err
}

// item adds an element of a list, if it has a name.
func (t *table) item(name string, item table) {
	i := slices.Index(item.names, "name")
	if i < 0 {
		return
	}
	for k, n := range item.names {
		if k != i {
			t.names = append(t.names, name+"."+item.values[i]+"."+n)
			t.values = append(t.values, item.values[k])
		}
	}
}
