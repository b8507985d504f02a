package systest

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Within returns a time limit for this machine of what takes at most d on an idle
// one with two processors: tests of a machine that does much else take longer, and
// prove the same.
func Within(d time.Duration) time.Duration { return time.Duration(float64(d) * slowness()) }

// slowness is RELIVE_SLOWNESS, which scripts/test sets, else what is seen at the
// first call.
var slowness = sync.OnceValue(func() float64 {
	if n, err := strconv.ParseFloat(os.Getenv("RELIVE_SLOWNESS"), 64); err == nil && n >= 1 {
		return n
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 1
	}
	n, err := strconv.ParseFloat(strings.Fields(string(load))[0], 64)
	if err != nil {
		return 1
	}
	return max(1, (n+2)/float64(runtime.NumCPU()))
})
