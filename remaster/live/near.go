package live

import (
	"path/filepath"
	"strings"

	"relive/remaster/probe"
)

// nearBases tells of files that could be the base of a live system, where the
// layouts have theirs, but of another name or kind: "" where there are none.
func nearBases(dir string) string {
	var out []string
	for _, pattern := range []string{"*", "live/*", "casper/*", "LiveOS/*", "antiX/*", "*/*/airootfs.*"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			continue // a directory whose name is a pattern
		}
		for _, path := range paths {
			if !IsFile(Host{}, path) || isExtra(path) {
				continue
			}
			res, err := ProbeFile(Host{}, path)
			if err != nil {
				continue
			}
			switch k := res.Kind; {
			case k == probe.SquashFS, k == probe.SquashFS3, k == probe.EROFS, k == probe.Btrfs, k == probe.XFS, k.IsExt():
				if rel, err := filepath.Rel(dir, path); err == nil {
					out = append(out, rel+" holds "+res.Name())
				}
			}
		}
	}
	const most = 4
	return strings.Join(out[:min(len(out), most)], ", ")
}
