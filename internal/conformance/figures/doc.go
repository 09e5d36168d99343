// Package figures reads statistics in the form of /proc/net/kcm and /proc/net/kcm_stats, and
// tells them as outcomes of conformance scripts do. The kernel writes that form, and package mux.
package figures
