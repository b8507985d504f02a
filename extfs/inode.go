package extfs

import (
	"fmt"
	"math"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// inode is a decoded inode.
type inode struct {
	number     uint32
	mode       uint16
	links      uint16
	uid, gid   uint32
	size       int64
	sectors    uint64 // i_blocks as stored: 512-byte sectors, or blocks with FlHugeFile
	flags      uint32
	generation uint32
	fileACL    uint64
	mtime      tree.Time
	atimeRaw   uint32 // an attribute inode keeps its hash here
	ctimeRaw   uint32 // and its reference count here and in version
	version    uint32
	block      [ondisk.InBlockSize]byte
	// body is what follows the inode's fields when it starts with the magic
	// number of attributes, that magic included; else nil.
	body []byte
	fast *fastInode // nil where fast commits did not change it
}

func (in *inode) has(f uint32) bool { return in.flags&f != 0 }
func (in *inode) place() string     { return fmt.Sprintf("inode %d", in.number) }

// seed is the seed of the checksums on the inode's own blocks.
func (fs *FS) inodeSeed(in *inode) uint32 {
	return ondisk.InodeSeed(fs.geo.seed, in.number, in.generation)
}

// inode reads and checks an inode.
func (fs *FS) inode(number uint32) (*inode, error) {
	if fs.fast != nil {
		if f := fs.fast.inodes[number]; f != nil {
			in, err := decodeInode(fs.geo, number, f.raw)
			if err == nil {
				in.fast = f
			}
			return in, err
		}
	}
	raw, err := fs.rawInode(number)
	if err != nil {
		return nil, err
	}
	return decodeInode(fs.geo, number, raw)
}

// rawInode returns an inode as the inode table has it, checked.
func (fs *FS) rawInode(number uint32) ([]byte, error) {
	raw, err := fs.tableInode(number)
	if err == nil && fs.geo.metadataCsum() {
		err = checkInodeChecksum(fs.geo, number, raw)
	}
	return raw, err
}

// tableInode returns an inode as the inode table has it.
func (fs *FS) tableInode(number uint32) ([]byte, error) {
	geo := fs.geo
	if number == 0 || number > geo.inodes {
		return nil, tree.Corrupt(fs.name, fmt.Sprintf("inode %d", number), "the file system has %d inodes", geo.inodes)
	}
	g, err := fs.group((number - 1) / geo.inodesPerGroup)
	if err != nil {
		return nil, err
	}
	off := int64((number-1)%geo.inodesPerGroup) * int64(geo.inodeSize)
	data, err := fs.block(g.inodeTable+uint64(off>>geo.blockBits), kindPlain, 0, nil)
	if err != nil {
		return nil, err
	}
	return data[off&(geo.blockSize-1):][:geo.inodeSize], nil
}

func checkInodeChecksum(geo *geometry, number uint32, raw []byte) error {
	got, hasHi := ondisk.InodeChecksum(geo.seed, number, raw)
	want := uint32(ondisk.LE16(raw, ondisk.InChecksumLo))
	if hasHi {
		want |= uint32(ondisk.LE16(raw, ondisk.InChecksumHi)) << 16
	} else {
		got &= 0xFFFF
	}
	if got == want {
		return nil
	}
	return tree.Corrupt(geo.name, fmt.Sprintf("inode %d", number), "checksum is %#08x, the content gives %#08x", want, got)
}

// decodeInode decodes a raw inode, as long as the file system's inodes are.
func decodeInode(geo *geometry, number uint32, raw []byte) (*inode, error) {
	in := &inode{
		number:     number,
		mode:       ondisk.LE16(raw, ondisk.InMode),
		links:      ondisk.LE16(raw, ondisk.InLinksCount),
		uid:        uint32(ondisk.LE16(raw, ondisk.InUIDLo)) | uint32(ondisk.LE16(raw, ondisk.InUIDHi))<<16,
		gid:        uint32(ondisk.LE16(raw, ondisk.InGIDLo)) | uint32(ondisk.LE16(raw, ondisk.InGIDHi))<<16,
		sectors:    uint64(ondisk.LE32(raw, ondisk.InBlocksLo)),
		flags:      ondisk.LE32(raw, ondisk.InFlags),
		generation: ondisk.LE32(raw, ondisk.InGeneration),
		fileACL:    uint64(ondisk.LE32(raw, ondisk.InFileACLLo)),
		atimeRaw:   ondisk.LE32(raw, ondisk.InAtime),
		ctimeRaw:   ondisk.LE32(raw, ondisk.InCtime),
		version:    ondisk.LE32(raw, ondisk.InVersion),
	}
	bad := func(fact string, args ...any) error { return tree.Corrupt(geo.name, in.place(), fact, args...) }
	copy(in.block[:], raw[ondisk.InBlock:])
	if geo.hasIncompat(ondisk.Incompat64Bit) {
		in.fileACL |= uint64(ondisk.LE16(raw, ondisk.InFileACLHi)) << 32
	}
	if geo.hasRO(ondisk.ROHugeFile) {
		in.sectors |= uint64(ondisk.LE16(raw, ondisk.InBlocksHi)) << 32
	}
	size := uint64(ondisk.LE32(raw, ondisk.InSizeLo))
	if in.mode&ondisk.ModeFmt == ondisk.ModeReg || geo.hasIncompat(ondisk.IncompatLargeDir) {
		size |= uint64(ondisk.LE32(raw, ondisk.InSizeHi)) << 32
	}
	if size > math.MaxInt64-uint64(geo.blockSize) {
		return nil, bad("size of %d bytes", size)
	}
	in.size = int64(size)

	extra := 0
	if len(raw) > ondisk.InodeSizeOld {
		extra = int(ondisk.LE16(raw, ondisk.InExtraIsize))
		if extra%4 != 0 || ondisk.InodeSizeOld+extra > len(raw) {
			return nil, bad("extra size of %d bytes in an inode of %d", extra, len(raw))
		}
	}
	// The kernel reads an extra size of 0 as fields that all fit, and looks for
	// no attributes in such an inode.
	end := ondisk.InodeSizeOld + extra
	if extra == 0 && len(raw) >= ondisk.InExtraEnd {
		end = ondisk.InExtraEnd
	}
	in.mtime = decodeTime(raw, end, ondisk.InMtime, ondisk.InMtimeExtra)
	if body := raw[min(ondisk.InodeSizeOld+extra, len(raw)):]; extra > 0 && len(body) >= ondisk.XABodyHdrSize &&
		ondisk.LE32(body, 0) == ondisk.XAMagic {
		in.body = append([]byte(nil), body...)
	}
	return in, nil
}

// decodeTime decodes the time at off of an inode whose fields end at end. With
// the extra field, its two low bits extend the signed 32-bit seconds upward by
// 2^32 each, and the other thirty are nanoseconds.
func decodeTime(raw []byte, end, off, extraOff int) tree.Time {
	t := tree.Time{Sec: int64(int32(ondisk.LE32(raw, off)))}
	if extraOff+4 <= end {
		extra := ondisk.LE32(raw, extraOff)
		t.Sec += int64(extra&ondisk.ExtraEpochMask) << 32
		// Thirty bits hold more than a second has; no kernel writes that.
		t.Nsec = min(extra>>ondisk.ExtraEpochBits, 999_999_999)
	}
	return t
}

// rdev decodes the device number: the old 16-bit form in the first block
// pointer, else the new one in the second.
func (in *inode) rdev() tree.Rdev {
	if old := ondisk.LE32(in.block[:], 0); old != 0 {
		return tree.Rdev{Major: old >> 8 & 0xFF, Minor: old & 0xFF}
	}
	return tree.RdevFromLinux(ondisk.LE32(in.block[:], 4))
}
