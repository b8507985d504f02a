package squash

import (
	"encoding/binary"

	"relive/squash/internal/ondisk"
	"relive/tree"
)

// Content returns the size in bytes of all files that the image holds, each
// inode counted once, and the number of inodes. It reads the whole inode table.
func (r *Reader) Content() (bytes, inodes int64, err error) {
	err = r.scanInodes(func(i inodeInfo) error {
		bytes += i.Size
		inodes++
		return nil
	})
	return bytes, inodes, err
}

// inodeInfo is what a scan of the inode table tells of an inode.
type inodeInfo struct {
	Ref    ondisk.Ref
	Number uint32
	Type   ondisk.InodeType
	Nlink  uint32

	// Of files.
	Size           int64  // bytes
	Start          int64  // absolute offset of the first block
	Blocks         int64  // number of blocks, holes included
	StoredBytes    int64  // bytes that the blocks take in the image
	Fragment       uint32 // NoFragment where there is none
	FragmentOffset uint32
}

// scanInodes calls fn for every inode, reachable or not, in the order of the
// table. An error of fn ends the scan and is returned.
func (r *Reader) scanInodes(fn func(inodeInfo) error) error {
	c := r.cursor(&r.inodes)
	if err := c.seek(0); err != nil {
		return err
	}
	for range r.super.InodeCount {
		if r.exports != nil && c.atEnd() {
			break // the others are numbers that no inode has
		}
		n, err := r.nextInode(c)
		if err != nil {
			return err
		}
		info := inodeInfo{Ref: n.ref, Number: n.Number, Type: n.Type, Nlink: n.Nlink, Fragment: ondisk.NoFragment}
		switch n.Type {
		case ondisk.InodeFile, ondisk.InodeExtFile:
			info.Size, info.Start = int64(n.FileSize), int64(n.Start)
			info.Blocks = int64(ondisk.BlockCount(n.FileSize, r.super.BlockSize, n.Fragment))
			info.Fragment, info.FragmentOffset = n.Fragment, n.FragmentOffset
			for range info.Blocks {
				b, err := c.bytes(4)
				if err != nil {
					return tree.Within(err, "%s: block list", n.place())
				}
				info.StoredBytes += int64(ondisk.BlockStored(binary.LittleEndian.Uint32(b)))
			}
		case ondisk.InodeExtDir:
			if err := r.skipIndex(c, &n); err != nil {
				return err
			}
		}
		if err := fn(info); err != nil {
			return err
		}
	}
	return nil
}

// skipIndex passes the index of an extended directory.
func (r *Reader) skipIndex(c *cursor, n *inode) error {
	for range n.IndexCount {
		if _, err := r.nextIndex(c); err != nil {
			return tree.Within(err, "%s: index", n.place())
		}
	}
	return nil
}
