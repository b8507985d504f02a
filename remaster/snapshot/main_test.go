package snapshot_test

import (
	"os"
	"testing"

	"relive/remaster/livetest"
)

func TestMain(m *testing.M) { os.Exit(livetest.Main(m)) }
