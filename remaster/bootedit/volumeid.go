package bootedit

import (
	"fmt"
	"strings"

	"relive/remaster/refusal"
)

// CheckVolumeID refuses names that tools do not find a volume by.
func CheckVolumeID(id string) error {
	const most = 32 // ECMA-119 8.4.6
	if len(id) > most {
		return refusal.Option(fmt.Errorf("the volume id %q has %d bytes, and there is room for %d", id, len(id), most))
	}
	for _, c := range []byte(id) {
		if c < 0x20 || c >= 0x7F {
			return refusal.Option(fmt.Errorf("the volume id %q has a character beyond ASCII, which boot loaders do not find", id))
		}
	}
	if strings.TrimSpace(id) != id {
		return refusal.Option(fmt.Errorf("the volume id %q begins or ends with a space, which is not stored", id))
	}
	return nil
}

// MaxVolumeID is the length of a volume's label, in bytes (ECMA-119, 8.4.7).
const MaxVolumeID = 32
