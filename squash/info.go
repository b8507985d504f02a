package squash

import "relive/squash/internal/ondisk"

// Info is what the superblock tells of an image. The codec is [Reader.Options].
type Info struct {
	BlockSize   int    // of data blocks, in bytes
	Flags       uint16 // FlagExportable and its kin
	MkfsTime    uint32 // seconds since 1970
	Inodes      uint32 // the highest inode number, of which some may be missing; see Numbers
	Fragments   uint32 // number of fragment blocks
	BytesUsed   int64  // length of the image without its padding
	TablesStart int64  // where the tables begin, behind all content; bytes from the start
	Exportable  bool   // it has an export table, so that inodes can be found by their number
}

// Info returns the superblock's facts.
func (r *Reader) Info() Info {
	s := &r.super
	return Info{
		BlockSize:   int(s.BlockSize),
		Flags:       s.Flags,
		MkfsTime:    s.MkfsTime,
		Inodes:      s.InodeCount,
		Fragments:   s.FragmentCount,
		BytesUsed:   int64(s.BytesUsed),
		TablesStart: int64(s.InodeTableStart),
		Exportable:  s.ExportTableStart != ondisk.NoTable,
	}
}

// Superblock returns the 96 bytes of the superblock as they are in the image.
// They differ between any two images that were not made alike.
func (r *Reader) Superblock() []byte { return r.super.Append(nil) }
