package remaster

import (
	"errors"
	"relive/tree"
)

// damage tells whether an error says that an image is broken or uses something
// that is not read, and not that reading failed.
func damage(err error) bool {
	return errors.Is(err, tree.ErrCorrupt) || errors.Is(err, tree.ErrUnsupported)
}
