package nearest

import (
	"relive/tree"
)

// DidYouMean asks for the nearest of several names, "" where none is near.
func DidYouMean(name string, names []string) string {
	if near := Name(name, names); near != "" {
		return "did you mean " + tree.Escape(near) + "?"
	}
	return ""
}
