package mux

import (
	"testing"

	"github.com/kcm-go/kcm/internal/statements"
)

// Each line of docs/security.md names tests that exist.
func TestSecurityIsTested(t *testing.T) {
	statements.CheckTests(t, "../docs/security.md", 48,
		"*_test.go", "../ring/*_test.go", "../strparser/*_test.go", "../strparser/*/*_test.go")
}
