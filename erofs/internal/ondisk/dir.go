package ondisk

import (
	"encoding/binary"

	"relive/tree"
)

// DirentSize is the length of a directory entry without its name, in bytes, and
// NameMax that of the longest name.
const (
	DirentSize = 12
	NameMax    = 255
)

// Dirent is a directory entry.
type Dirent struct {
	NID  uint64
	Name uint16 // where the name begins in the block
	Type uint8
}

// DecodeDirent decodes an entry.
func DecodeDirent(b []byte) Dirent {
	return Dirent{NID: binary.LittleEndian.Uint64(b), Name: binary.LittleEndian.Uint16(b[8:]), Type: b[10]}
}

// Append encodes the entry.
func (d *Dirent) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, d.NID)
	dst = binary.LittleEndian.AppendUint16(dst, d.Name)
	return append(dst, d.Type, 0)
}

// NIDMetabox marks inodes in the metabox.
const NIDMetabox uint64 = 1 << 63

var direntTypes = [...]tree.Type{1: tree.Regular, tree.Directory, tree.CharDevice, tree.BlockDevice, tree.FIFO, tree.Socket,
	tree.Symlink}

// DirentType gives the type that an entry names, or 0 where it names none.
func DirentType(t uint8) tree.Type {
	if int(t) < len(direntTypes) {
		return direntTypes[t]
	}
	return 0
}

// TypeOf gives the number of a type in entries.
func TypeOf(t tree.Type) uint8 {
	for i, u := range direntTypes {
		if u == t && i > 0 {
			return uint8(i)
		}
	}
	return 0
}
