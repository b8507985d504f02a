package replace

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"relive/tree"
)

// FlagsLost tells of flags that chattr sets and that are lost, "" for none: how
// many files have each, and the first of them.
func FlagsLost(counts map[string]uint64, first string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, fmt.Sprintf("%s (%d)", name, counts[name]))
	}
	if len(out) == 0 {
		return ""
	}
	return "lost are " + strings.Join(out, ", ") + ", the first of /" + tree.Escape(strings.TrimPrefix(first, "/"))
}
