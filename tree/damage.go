package tree

import (
	"errors"
)

// IsDamage reports whether an error says that an image is broken or uses something
// that is not read, and not that reading failed.
func IsDamage(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnsupported)
}
