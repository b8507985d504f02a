package accounts

import (
	"maps"
	"slices"
	"testing"
)

// TestUIDs: what glibc takes for an account counts, and nothing else.
func TestUIDs(t *testing.T) {
	text := "root:x:0:0:root:/root:/bin/sh\n# no:x:1:1::/:\n+nis:x:2:2::/:\n  anna:x:1000:1000::/home/anna:/bin/sh\r\n" +
		"bad:x:many:5::/:\nshort:x:7\nlast:x:4294967295:9:::"
	if got := slices.Sorted(maps.Keys(UIDs([]byte(text)))); !slices.Equal(got, []uint32{0, 1000, 4294967295}) {
		t.Error(got)
	}
}
