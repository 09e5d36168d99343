package sgmsg_test

import (
	"testing"

	"github.com/kcm-go/kcm/internal/statements"
)

// Every statement of docs/sgmsg.md is proved, and what is named exists.
func TestEveryStatementIsProved(t *testing.T) {
	statements.Check(t, "../docs/sgmsg.md", 9+14+28, "*_test.go", "testdata/*.txt")
}
