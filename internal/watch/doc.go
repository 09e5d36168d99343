// Package watch has what packages ring and mux have in common to be watched by: the names
// of things in log records and profiles, and a bound on how often the same event is told.
package watch
