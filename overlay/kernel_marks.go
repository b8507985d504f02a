package overlay

import (
	"strings"

	"relive/tree"
)

// IsMark tells an attribute that overlayfs itself sets on a layer's directory.
func IsMark(name string) bool {
	return strings.HasPrefix(name, MarkPrefix)
}

// MarkPrefix is what the names of the attributes begin with that overlayfs sets on
// its layers.
const MarkPrefix = "trusted.overlay."

// IsWhiteout tells the device by which overlayfs hides a name.
func IsWhiteout(n *tree.Node) bool {
	return n != nil && n.Type == tree.CharDevice && n.Rdev == tree.Rdev{}
}

// IsBareMark tells an attribute of overlayfs that is not one of a nested overlay.
func IsBareMark(name string) bool {
	return IsMark(name) && !strings.HasPrefix(name, MarkPrefix+"overlay.")
}
