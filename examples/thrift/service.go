package main

import (
	"context"
	"fmt"
	"math"

	"github.com/apache/thrift/lib/go/thrift"
)

// The service, as the Thrift compiler would be told of it:
//
//	service Arithmetic {
//	  i64 sum(1: list<i64> numbers)
//	}

// conf limits what either side decodes.
var conf = &thrift.TConfiguration{MaxFrameSize: maxFrame, MaxMessageSize: maxFrame}

const maxFrame = 1 << 20

// sum is the method; ok is false for a sum beyond 64 bits.
func sum(numbers []int64) (s int64, ok bool) {
	for _, n := range numbers {
		if n > 0 && s > math.MaxInt64-n || n < 0 && s < math.MinInt64-n {
			return 0, false
		}
		s += n
	}
	return s, true
}

// process reads a call and writes its reply, which may be an exception. It returns an error
// if what it read is no call.
func process(ctx context.Context, in, out thrift.TProtocol) error {
	name, kind, seq, err := in.ReadMessageBegin(ctx)
	if err != nil {
		return err
	}
	if kind != thrift.CALL {
		return fmt.Errorf("message %q of type %d, want a call", name, kind)
	}
	if name != "sum" {
		if err := in.Skip(ctx, thrift.STRUCT); err != nil {
			return err
		}
		return reply(ctx, out, name, seq, thrift.EXCEPTION,
			thrift.NewTApplicationException(thrift.UNKNOWN_METHOD, "no method "+name))
	}
	var args sumArgs
	if err := args.Read(ctx, in); err != nil {
		return err
	}
	s, ok := sum(args.numbers)
	if !ok {
		return reply(ctx, out, name, seq, thrift.EXCEPTION,
			thrift.NewTApplicationException(thrift.INTERNAL_ERROR, "the sum does not fit in 64 bits"))
	}
	return reply(ctx, out, name, seq, thrift.REPLY, &sumResult{s, true})
}

// reply writes one message with what; out gets it when it is flushed.
func reply(ctx context.Context, out thrift.TProtocol, name string, seq int32, kind thrift.TMessageType, what interface {
	Write(context.Context, thrift.TProtocol) error
}) error {
	if err := out.WriteMessageBegin(ctx, name, kind, seq); err != nil {
		return err
	}
	if err := what.Write(ctx, out); err != nil {
		return err
	}
	if err := out.WriteMessageEnd(ctx); err != nil {
		return err
	}
	return out.Flush(ctx)
}

// sumArgs is the struct of the arguments of sum, a thrift.TStruct.
type sumArgs struct{ numbers []int64 }

func (a *sumArgs) Read(ctx context.Context, p thrift.TProtocol) error {
	return readFields(ctx, p, 1, thrift.LIST, func() error {
		kind, n, err := p.ReadListBegin(ctx)
		if err != nil {
			return err
		}
		if kind != thrift.I64 {
			return fmt.Errorf("a list of %v, want numbers of 64 bits", kind)
		}
		for range n { // ends with the frame whatever n is
			x, err := p.ReadI64(ctx)
			if err != nil {
				return err
			}
			a.numbers = append(a.numbers, x)
		}
		return p.ReadListEnd(ctx)
	})
}

func (a *sumArgs) Write(ctx context.Context, p thrift.TProtocol) error {
	return writeField(ctx, p, "sum_args", "numbers", 1, thrift.LIST, func() error {
		if err := p.WriteListBegin(ctx, thrift.I64, len(a.numbers)); err != nil {
			return err
		}
		for _, x := range a.numbers {
			if err := p.WriteI64(ctx, x); err != nil {
				return err
			}
		}
		return p.WriteListEnd(ctx)
	})
}

// sumResult is the struct of its result.
type sumResult struct {
	success int64
	set     bool
}

func (r *sumResult) Read(ctx context.Context, p thrift.TProtocol) error {
	return readFields(ctx, p, 0, thrift.I64, func() (err error) {
		r.success, err = p.ReadI64(ctx)
		r.set = err == nil
		return err
	})
}

func (r *sumResult) Write(ctx context.Context, p thrift.TProtocol) error {
	return writeField(ctx, p, "sum_result", "success", 0, thrift.I64, func() error {
		return p.WriteI64(ctx, r.success)
	})
}

// readFields reads a struct: read is called for the one field that is known, others are
// skipped.
func readFields(ctx context.Context, p thrift.TProtocol, id int16, kind thrift.TType, read func() error) error {
	if _, err := p.ReadStructBegin(ctx); err != nil {
		return err
	}
	for {
		_, t, i, err := p.ReadFieldBegin(ctx)
		switch {
		case err != nil:
			return err
		case t == thrift.STOP:
			return p.ReadStructEnd(ctx)
		case i == id && t == kind:
			err = read()
		default:
			err = p.Skip(ctx, t)
		}
		if err != nil {
			return err
		}
		if err := p.ReadFieldEnd(ctx); err != nil {
			return err
		}
	}
}

// writeField writes a struct of one field.
func writeField(ctx context.Context, p thrift.TProtocol, name, field string, id int16, kind thrift.TType, write func() error) error {
	if err := p.WriteStructBegin(ctx, name); err != nil {
		return err
	}
	if err := p.WriteFieldBegin(ctx, field, kind, id); err != nil {
		return err
	}
	if err := write(); err != nil {
		return err
	}
	if err := p.WriteFieldEnd(ctx); err != nil {
		return err
	}
	if err := p.WriteFieldStop(ctx); err != nil {
		return err
	}
	return p.WriteStructEnd(ctx)
}
