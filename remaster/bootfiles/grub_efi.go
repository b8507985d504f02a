package bootfiles

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// What is linked into an image of GRUB (GRUB 2.06, include/grub/kernel.h).
const (
	modulesMagic = "mimg"
	objectConfig = 2
	objectPrefix = 3
)

// grubImage is what an image of GRUB says of itself.
type grubImage struct {
	// prefix is the directory of grub.cfg and modules. Without a device in front,
	// it is on the volume that the image was loaded from.
	prefix string
	// config is the script that runs first.
	config string
}

// readGRUBImage finds the list of what is linked into an image; ok is false where
// there is none.
func readGRUBImage(b []byte) (g grubImage, ok bool) {
	for from := 0; ; {
		i := bytes.Index(b[from:], []byte(modulesMagic))
		if i < 0 {
			return grubImage{}, false
		}
		from += i
		if g, ok = readObjects(b[from:]); ok {
			return g, true
		}
		from += len(modulesMagic)
	}
}

// readObjects reads the list of objects in either width.
func readObjects(b []byte) (g grubImage, ok bool) {
	le := binary.LittleEndian
	var offset, size uint64
	switch {
	case len(b) >= 24 && le.Uint32(b[4:]) == 0 && le.Uint64(b[8:]) == 24:
		offset, size = 24, le.Uint64(b[16:])
	case len(b) >= 12 && le.Uint32(b[4:]) == 12:
		offset, size = 12, uint64(le.Uint32(b[8:]))
	default:
		return g, false
	}
	if size < offset || size > uint64(len(b)) {
		return g, false
	}
	for b = b[offset:size]; len(b) >= 8; {
		kind, n := le.Uint32(b), le.Uint32(b[4:])
		if n < 8 || uint64(n) > uint64(len(b)) {
			return g, false
		}
		content, _, _ := bytes.Cut(b[8:n], []byte{0})
		switch kind {
		case objectConfig:
			g.config = string(content)
		case objectPrefix:
			// () is the device that the image was loaded from, as no device is.
			g.prefix, ok = strings.TrimPrefix(string(content), "()"), true
		}
		b = b[n:]
	}
	return g, ok
}

// standalone tells of images that have their menu linked in, or ask nobody for
// one.
func (g grubImage) standalone() bool {
	return g.prefix == "" || strings.HasPrefix(g.prefix, "(memdisk)")
}

// elsewhere tells of images that look for their files on a certain device, such as
// those that grub-install links for one machine.
func (g grubImage) elsewhere() bool {
	return !g.standalone() && !strings.HasPrefix(g.prefix, "/") || strings.Contains(g.config, fsUUID)
}

// fsUUID is how grub-install's scripts find a file system.
const fsUUID = "search.fs_uuid"

// place is where an image looks, in GRUB's words.
func (g grubImage) place() string {
	for line := range strings.Lines(g.config) {
		if strings.Contains(line, fsUUID) {
			return strings.TrimSpace(line)
		}
	}
	return g.prefix
}
