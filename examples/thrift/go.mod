module github.com/kcm-go/kcm/examples/thrift

go 1.26.0

replace github.com/kcm-go/kcm => ../..

require (
	github.com/apache/thrift v0.25.0
	github.com/kcm-go/kcm v0.0.0-00010101000000-000000000000
	golang.org/x/net v0.62.0
)

require (
	github.com/iceber/iouring-go v0.0.0-20230403020409-002cfd2e2a90 // indirect
	github.com/klauspost/cpuid/v2 v2.4.2 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
