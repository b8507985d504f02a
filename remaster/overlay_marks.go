package remaster

import (
	"relive/tree"
	"strings"
)

// isMark tells an attribute that overlayfs itself sets on a layer's directory.
func isMark(name string) bool {
	return strings.HasPrefix(name, overlayMarks)
}

const overlayMarks = "trusted.overlay."

// isWhiteout tells the device by which overlayfs hides a name.
func isWhiteout(n *tree.Node) bool {
	return n != nil && n.Type == tree.CharDevice && n.Rdev == tree.Rdev{}
}

// isBareMark tells an attribute of overlayfs that is not one of a nested overlay.
func isBareMark(name string) bool {
	return isMark(name) && !strings.HasPrefix(name, overlayMarks+"overlay.")
}
