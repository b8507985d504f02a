package extfs

import (
	"strings"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// node makes the tree node of an inode that a directory names.
func (fs *FS) node(name string, number, parent uint32) (*tree.Node, error) {
	in, err := fs.inode(number)
	if err != nil {
		return nil, err
	}
	if name != "" && (number == ondisk.InoRoot || number < fs.geo.firstInode) {
		return nil, fs.corrupt(in, "the file system's own, but a directory names it")
	}
	n := &tree.Node{
		Name: name,
		Meta: tree.Meta{
			Type:  tree.TypeFromMode(uint32(in.mode)),
			Perm:  in.mode &^ ondisk.ModeFmt,
			UID:   in.uid,
			GID:   in.gid,
			Mtime: in.mtime,
		},
		Inode: tree.Inode{Source: fs, Number: uint64(number)},
		Nlink: uint32(in.links),
	}
	switch {
	case in.links == 0:
		return nil, fs.corrupt(in, "deleted, but a directory names it")
	case in.has(ondisk.FlEAInode):
		return nil, fs.corrupt(in, "holds an attribute, but a directory names it")
	case n.Type == 0:
		return nil, fs.corrupt(in, "mode %#o is of no file type", in.mode)
	}
	if n.Xattrs, err = fs.xattrs(in); err != nil {
		return nil, err
	}
	if n.Type == tree.Regular || n.Type == tree.Directory {
		n.Flags = tree.Flags(in.flags) & tree.FlagsTold
	}
	switch n.Type {
	case tree.Regular:
		n.Size = in.size
		n.Data = fileData{fs, in}
	case tree.Directory:
		n.Dir = &dir{fs, in, parent}
	case tree.Symlink:
		if n.Target, err = fs.target(in); err != nil {
			return nil, err
		}
		n.Size = int64(len(n.Target))
	case tree.BlockDevice, tree.CharDevice:
		n.Rdev = in.rdev()
	}
	return n, nil
}

// target reads a symlink's target: in the place of the block pointers where
// the inode has no blocks, else in its first block.
func (fs *FS) target(in *inode) (string, error) {
	if in.has(ondisk.FlEncrypt) {
		return "", tree.Unsupported(fs.name, in.place(), "the symlink is encrypted")
	}
	if in.size == 0 || in.size >= fs.geo.blockSize {
		return "", fs.corrupt(in, "symlink of %d bytes", in.size)
	}
	p := make([]byte, in.size)
	switch {
	case in.has(ondisk.FlInlineData):
		data, err := fs.inlineData(in)
		if err != nil {
			return "", err
		}
		if copy(p, data) < len(p) {
			return "", fs.corrupt(in, "symlink of %d bytes, inline data of %d", in.size, len(data))
		}
	case fs.isFastSymlink(in):
		if len(p) >= ondisk.InBlockSize {
			return "", fs.corrupt(in, "symlink of %d bytes without a block", in.size)
		}
		copy(p, in.block[:])
	default:
		if err := tree.ReadFull(&blockContent{fs: fs, in: in}, p, 0); err != nil {
			return "", err
		}
	}
	s := string(p)
	if strings.IndexByte(s, 0) >= 0 {
		return "", fs.corrupt(in, "the symlink's target holds a NUL")
	}
	return s, nil
}

// isFastSymlink follows the kernel: with ea_inode the count of blocks says
// nothing, because it counts attributes too.
func (fs *FS) isFastSymlink(in *inode) bool {
	if fs.geo.hasIncompat(ondisk.IncompatEAInode) {
		return in.size < ondisk.InBlockSize
	}
	sectors := in.sectors
	if in.fileACL != 0 {
		cluster := uint64(1) << (fs.geo.blockBits + fs.geo.clusterBits - 9)
		if in.has(ondisk.FlHugeFile) && fs.geo.hasRO(ondisk.ROHugeFile) {
			cluster = 1 << fs.geo.clusterBits
		}
		sectors -= cluster
	}
	return sectors == 0
}
