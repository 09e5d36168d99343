package main

import (
	"testing"

	"github.com/kcm-go/kcm/bench/peers/internal/rig/rigtest"
)

func TestMain(m *testing.M) { rigtest.Main(m) }
