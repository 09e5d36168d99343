package main

import (
	"context"
	"errors"

	"github.com/apache/thrift/lib/go/thrift"
)

// client is a client of the service over Thrift's own transport, protocol and socket. It is
// for one goroutine.
type client struct {
	transport thrift.TTransport
	calls     thrift.TClient
}

// dial connects to a server.
func dial(addr string) (*client, error) {
	t := thrift.NewTFramedTransportConf(thrift.NewTSocketConf(addr, conf), conf)
	if err := t.Open(); err != nil {
		return nil, err
	}
	p := thrift.NewTBinaryProtocolConf(t, conf)
	return &client{t, thrift.NewTStandardClient(p, p)}, nil
}

func (c *client) close() { _ = c.transport.Close() } // its end has no meaning here

// sum calls the method.
func (c *client) sum(ctx context.Context, numbers []int64) (int64, error) {
	var result sumResult
	if _, err := c.calls.Call(ctx, "sum", &sumArgs{numbers}, &result); err != nil {
		return 0, err
	}
	if !result.set {
		return 0, errors.New("sum: the reply has no result")
	}
	return result.success, nil
}
