//go:build !linux

package uring

func probe() []Feature {
	return []Feature{{Name: "io_uring", Since: "5.1", Need: true, State: No, Why: "not Linux"}}
}
