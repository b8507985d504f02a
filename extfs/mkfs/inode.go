package mkfs

import (
	"encoding/binary"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// The times that an inode holds: 34 bits of seconds from -2^31 on where it has
// the extra fields, else 32 bits.
const (
	minInodeSec = -1 << 31
	maxInodeSec = 1<<34 - 1<<31 - 1
	maxShortSec = 1<<31 - 1
)

// freshInode is an inode before it is encoded. All four times are the same: a tree
// knows the time of the last change of content only, and a deterministic image
// can take the others from nowhere else.
type freshInode struct {
	mode     uint16
	uid, gid uint32
	size     uint64
	time     tree.Time
	links    uint16
	blocks   uint64 // data, mapping and attribute blocks
	flags    uint32
	iblock   [ondisk.InBlockSize]byte
	acl      uint64 // the attribute block
	body     []storedXattr

	// An inode that holds an attribute's value (ea_inode) keeps the value's
	// hash and a count of references where others have times and a version.
	eaHash   uint32
	eaHolder bool
}

// extraSpace is the number of bytes behind the fields of an inode, for
// attributes.
func extraSpace(inodeSize int) int {
	if inodeSize <= ondisk.InodeSizeOld {
		return 0
	}
	return inodeSize - ondisk.InExtraEnd
}

// attributeSpace is what of that space the attributes of a node may take. None
// with ea_inode for a short symlink: e2fsck takes its target for
// block numbers where i_blocks, which counts the values with inodes of their
// own, is not zero, unless there is an attribute block.
func attributeSpace(n *tree.Node, inodeSize int, feat FeatureSet) int {
	if feat.eaInode() && n.Type == tree.Symlink && len(n.Target) < ondisk.InBlockSize {
		return 0
	}
	return extraSpace(inodeSize)
}

// clampTime returns the nearest time that an inode can hold.
func clampTime(t tree.Time, inodeSize int) (tree.Time, bool) {
	out := t
	if out.Nsec > 999999999 {
		out.Nsec = 999999999
	}
	limit := int64(maxInodeSec)
	if inodeSize <= ondisk.InodeSizeOld {
		limit = maxShortSec
		out.Nsec = 0
	}
	if out.Sec < minInodeSec {
		out = tree.Time{Sec: minInodeSec}
	}
	if out.Sec > limit {
		out = tree.Time{Sec: limit}
	}
	return out, out != t
}

// timeFields splits a time into the seconds field and the extra field.
func timeFields(t tree.Time) (sec, extra uint32) {
	lo := int32(t.Sec)
	epoch := uint32((t.Sec-int64(lo))>>32) & ondisk.ExtraEpochMask
	return uint32(lo), epoch | t.Nsec<<ondisk.ExtraEpochBits
}

// put encodes the inode into raw, which has the file system's inode size, and
// closes it with its checksum.
func (n *freshInode) put(raw []byte, ino uint32, g *layout, seed uint32) {
	clear(raw)
	le := binary.LittleEndian
	t, _ := clampTime(n.time, len(raw))
	sec, extra := timeFields(t)
	le.PutUint16(raw[ondisk.InMode:], n.mode)
	le.PutUint16(raw[ondisk.InUIDLo:], uint16(n.uid))
	le.PutUint16(raw[ondisk.InUIDHi:], uint16(n.uid>>16))
	le.PutUint16(raw[ondisk.InGIDLo:], uint16(n.gid))
	le.PutUint16(raw[ondisk.InGIDHi:], uint16(n.gid>>16))
	le.PutUint32(raw[ondisk.InSizeLo:], uint32(n.size))
	le.PutUint32(raw[ondisk.InSizeHi:], uint32(n.size>>32))
	le.PutUint32(raw[ondisk.InAtime:], sec)
	le.PutUint32(raw[ondisk.InCtime:], sec)
	le.PutUint32(raw[ondisk.InMtime:], sec)
	le.PutUint16(raw[ondisk.InLinksCount:], n.links)
	flags := n.flags
	sectors := n.blocks * uint64(g.blockSize/512)
	if sectors >= 1<<48 {
		flags |= ondisk.FlHugeFile
		sectors = n.blocks
	}
	le.PutUint32(raw[ondisk.InBlocksLo:], uint32(sectors))
	le.PutUint16(raw[ondisk.InBlocksHi:], uint16(sectors>>32))
	le.PutUint32(raw[ondisk.InFlags:], flags)
	copy(raw[ondisk.InBlock:], n.iblock[:])
	le.PutUint32(raw[ondisk.InFileACLLo:], uint32(n.acl))
	le.PutUint16(raw[ondisk.InFileACLHi:], uint16(n.acl>>32))
	if n.eaHolder {
		le.PutUint32(raw[ondisk.InAtime:], n.eaHash)
		le.PutUint32(raw[ondisk.InCtime:], 0)   // high half of the reference count
		le.PutUint32(raw[ondisk.InVersion:], 1) // low half
	}
	if len(raw) > ondisk.InodeSizeOld {
		le.PutUint16(raw[ondisk.InExtraIsize:], ondisk.InExtraIsizeFull)
		le.PutUint32(raw[ondisk.InMtimeExtra:], extra)
		if !n.eaHolder {
			le.PutUint32(raw[ondisk.InCtimeExtra:], extra)
			le.PutUint32(raw[ondisk.InAtimeExtra:], extra)
		}
		le.PutUint32(raw[ondisk.InCrtime:], sec)
		le.PutUint32(raw[ondisk.InCrtimeExtra:], extra)
		putXattrBody(raw[ondisk.InExtraEnd:], n.body)
	}
	sealInode(raw, ino, g, seed)
}

// sealInode sets the checksum of a raw inode.
func sealInode(raw []byte, ino uint32, g *layout, seed uint32) {
	if !g.feat.csum() {
		return
	}
	sum, hasHi := ondisk.InodeChecksum(seed, ino, raw)
	binary.LittleEndian.PutUint16(raw[ondisk.InChecksumLo:], uint16(sum))
	if hasHi {
		binary.LittleEndian.PutUint16(raw[ondisk.InChecksumHi:], uint16(sum>>16))
	}
}

// putDevice stores a device number in i_block: in the old 16-bit form where it
// fits, else in the new one. ok is false where neither holds it.
func putDevice(iblock []byte, r tree.Rdev) (ok bool) {
	if r.Major < 256 && r.Minor < 256 {
		binary.LittleEndian.PutUint32(iblock, r.Major<<8|r.Minor)
		return true
	}
	d, ok := r.Linux()
	binary.LittleEndian.PutUint32(iblock[4:], d)
	return ok
}

// fileType is the directory entry's file type.
func fileType(t tree.Type) uint8 {
	switch t {
	case tree.Regular:
		return ondisk.FTReg
	case tree.Directory:
		return ondisk.FTDir
	case tree.Symlink:
		return ondisk.FTSymlink
	case tree.BlockDevice:
		return ondisk.FTBlk
	case tree.CharDevice:
		return ondisk.FTChr
	case tree.FIFO:
		return ondisk.FTFIFO
	case tree.Socket:
		return ondisk.FTSock
	}
	return ondisk.FTUnknown
}
