package remaster

import (
	"relive/remaster/nearest"
	"relive/tree"
)

// didYouMean asks for the nearest of several names, "" where none is near.
func didYouMean(name string, names []string) string {
	if near := nearest.Name(name, names); near != "" {
		return "did you mean " + tree.Escape(near) + "?"
	}
	return ""
}
