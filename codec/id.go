package codec

import (
	"fmt"

	"relive/tree"
)

// ID names a compressor as the superblock's compression_id does.
type ID uint16

// The compressors of SquashFS 4.0.
const (
	Gzip ID = 1
	LZMA ID = 2
	LZO  ID = 3
	XZ   ID = 4
	LZ4  ID = 5
	Zstd ID = 6
)

// idCount is one past the highest ID.
const idCount = 7

// IDs gives all compressors in the order of their numbers.
func IDs() []ID { return []ID{Gzip, LZMA, LZO, XZ, LZ4, Zstd} }

// String is the name that mksquashfs -comp takes.
func (id ID) String() string {
	switch id {
	case Gzip:
		return "gzip"
	case LZMA:
		return "lzma"
	case LZO:
		return "lzo"
	case XZ:
		return "xz"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("compressor %d", uint16(id))
}

// ParseID finds a compressor by the name that mksquashfs -comp takes. An
// unknown name is tree.ErrUnsupported.
func ParseID(name string) (ID, error) {
	for _, id := range IDs() {
		if id.String() == name {
			return id, nil
		}
	}
	return 0, tree.Unsupported("", "compressor", "%q is none of gzip, lzma, lzo, xz, lz4, zstd", name)
}

// Check tells whether the number is a known compressor; any other is
// tree.ErrUnsupported.
func (id ID) Check() error {
	if id < Gzip || id > Zstd {
		return tree.Unsupported("", "superblock", "compressor %d is unknown", uint16(id))
	}
	return nil
}
