//go:build unix

package framing

import (
	"fmt"
	"reflect"
	"unsafe"
)

// field returns the field of that name and type T in the structure that v, an
// interface, points to.
func field[T any](v any, name string) (*T, error) {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("field %s: %T is no structure", name, v)
	}
	f := p.Elem().FieldByName(name)
	if want := reflect.TypeFor[T](); !f.IsValid() || f.Type() != want {
		return nil, fmt.Errorf("field %s: %T has none of type %s", name, v, want)
	}
	return (*T)(unsafe.Pointer(f.UnsafeAddr())), nil
}
