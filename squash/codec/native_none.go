//go:build relive_static || !linux || !(amd64 || arm64)

package codec

import "fmt"

// nativeCodecs gives none: this build is pure Go.
func nativeCodecs() ([idCount]implementation, error) {
	return [idCount]implementation{}, fmt.Errorf("%w: this build is pure Go", ErrNative)
}
