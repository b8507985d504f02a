package live_test

import (
	"strings"
	"testing"

	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/refusal"
	"relive/tree/systest"
)

// TestCasperUnsure: where it cannot be told which stack is booted, that is said.
func TestCasperUnsure(t *testing.T) {
	t.Parallel()
	systest.NeedTools(t, "mksquashfs")
	dir := systest.TempDir(t)
	for _, name := range []string{"a", "b"} {
		livetest.Squashed(t, dir+"/casper/"+name+".squashfs", func(dir string) { livetest.Write(t, dir+"/x", nil, 0o644) })
	}
	_, err := live.Find(dir)
	if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, "a.squashfs, b.squashfs") || r.Hint == "" {
		t.Errorf("%v", err)
	}
}
