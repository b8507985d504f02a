package tree

import (
	"fmt"
	"sort"
	"strings"
)

// Type is the type of a file, as in the S_IFMT bits of st_mode.
type Type uint8

// The file types. The zero Type is invalid.
const (
	Regular Type = iota + 1
	Directory
	Symlink
	BlockDevice
	CharDevice
	FIFO
	Socket
)

// String is the word for the type that diagnostics use.
func (t Type) String() string {
	switch t {
	case Regular:
		return "file"
	case Directory:
		return "directory"
	case Symlink:
		return "symlink"
	case BlockDevice:
		return "block device"
	case CharDevice:
		return "character device"
	case FIFO:
		return "fifo"
	case Socket:
		return "socket"
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// S_IFMT and its values, as Linux's include/uapi/linux/stat.h has them.
const (
	ifmt   = 0o170000
	ifsock = 0o140000
	iflnk  = 0o120000
	ifreg  = 0o100000
	ifblk  = 0o060000
	ifdir  = 0o040000
	ifchr  = 0o020000
	ififo  = 0o010000
)

// TypeFromMode returns the type that the S_IFMT bits of a st_mode name, or 0
// where they name none.
func TypeFromMode(mode uint32) Type {
	switch mode & ifmt {
	case ifreg:
		return Regular
	case ifdir:
		return Directory
	case iflnk:
		return Symlink
	case ifblk:
		return BlockDevice
	case ifchr:
		return CharDevice
	case ififo:
		return FIFO
	case ifsock:
		return Socket
	}
	return 0
}

// ModeBits returns the S_IFMT bits of the type.
func (t Type) ModeBits() uint32 {
	switch t {
	case Regular:
		return ifreg
	case Directory:
		return ifdir
	case Symlink:
		return iflnk
	case BlockDevice:
		return ifblk
	case CharDevice:
		return ifchr
	case FIFO:
		return ififo
	case Socket:
		return ifsock
	}
	return 0
}

// Rdev is the device number of a block or character device.
type Rdev struct{ Major, Minor uint32 }

// RdevFromLinux decodes the 32-bit form that the kernel's new_decode_dev
// reads: 12 bits of major, 20 of minor, in the order mmmMMMmm.
func RdevFromLinux(d uint32) Rdev {
	return Rdev{Major: (d >> 8) & 0xfff, Minor: d&0xff | (d>>12)&0xfff00}
}

// Linux encodes r as the kernel's new_encode_dev does; ok is false where major
// or minor have more bits than that form holds.
func (r Rdev) Linux() (d uint32, ok bool) {
	return r.Minor&0xff | r.Major<<8 | (r.Minor&^uint32(0xff))<<12, r.Major < 1<<12 && r.Minor < 1<<20
}

// Inode identifies the inode behind a node. Two nodes that are not directories
// and have equal, non-zero Inodes are hard links of one file.
type Inode struct {
	// Source tells trees apart; it is a pointer that the source owns.
	Source any
	// Number is the inode's number in that source.
	Number uint64
}

// Meta is what stat tells of a file, and its link target.
type Meta struct {
	Type Type
	// Perm holds the lower twelve bits of st_mode: permissions, set-user-ID,
	// set-group-ID and sticky.
	Perm     uint16
	UID, GID uint32
	Mtime    Time
	// Rdev is the device number of block and character devices, zero elsewhere.
	Rdev Rdev
	// Size is the length in bytes of a regular file's content or of a
	// symlink's target, zero elsewhere.
	Size int64
	// Target is a symlink's target.
	Target string
}

// Node is one name in a tree and the inode behind it. Once handed out, a Node
// and its Xattrs are not modified; a transform copies.
type Node struct {
	// Name is the name in the parent directory, empty for a root.
	Name string
	Meta
	// Xattrs are the extended attributes with their full names
	// ("security.capability"), sorted by name; nil where there are none.
	Xattrs Xattrs
	// Flags are those that chattr sets, as far as the source knows them.
	Flags Flags
	// Inode is the identity for hard links; the zero Inode stands alone. Equal
	// Inodes of directories tell comparers that all below is equal, so a
	// transform that changes anything below a directory takes its Inode away.
	Inode Inode
	// Origin is the inode of a source that the node continues: its own, or that of
	// the file or directory that a layer has changed. A writer that keeps inode
	// numbers gives the node that number. It is a hint, which a transform that
	// changes a node leaves as it is; the zero Inode tells of none.
	Origin Inode
	// Nlink is the link count that the source records. It may count names that
	// a layer hides; a writer counts for itself and uses it only to skip nodes
	// that can have no second name.
	Nlink uint32
	// Data is the content of a regular file, nil for other types.
	Data Data
	// Was is the content that a lower layer has for the same file, nil where
	// there is none: a hint where unchanged blocks may be found, never content.
	Was Data
	// Dir lists a directory's children, nil for other types.
	Dir Dir
}

// Dir lists a directory.
type Dir interface {
	// Children returns the children in strictly ascending byte order of their
	// names. The caller must not modify the slice or the nodes. Where some entries
	// cannot be read, the error is a *PartialError, as [Partial] makes it, which
	// holds the rest.
	Children() ([]*Node, error)
}

// Lookuper is a Dir that finds one child without listing all.
type Lookuper interface {
	// Lookup returns the child of that name, or nil where there is none.
	Lookup(name string) (*Node, error)
}

// Children lists the node's children; a node that is not a directory has none.
func (n *Node) Children() ([]*Node, error) {
	if n.Dir == nil {
		return nil, nil
	}
	return n.Dir.Children()
}

// Child returns the child of that name, or nil where there is none.
func (n *Node) Child(name string) (*Node, error) {
	if n.Dir == nil {
		return nil, nil
	}
	if l, ok := n.Dir.(Lookuper); ok {
		return l.Lookup(name)
	}
	kids, bad, err := n.Readable()
	if err != nil {
		return nil, err
	}
	if b := FindBad(bad, name); b != nil {
		return nil, b.Err
	}
	return Find(kids, name), nil
}

// Find returns the node of that name in children as a Dir lists them, or nil.
func Find(children []*Node, name string) *Node {
	i := sort.Search(len(children), func(i int) bool { return children[i].Name >= name })
	if i < len(children) && children[i].Name == name {
		return children[i]
	}
	return nil
}

// Lookup walks from the node down a path of names joined by '/'; empty parts
// are skipped, and "." and ".." have no meaning. It gives nil where the path
// does not exist. Symlinks are not followed.
func (n *Node) Lookup(path string) (*Node, error) {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			continue
		}
		var err error
		if n, err = n.Child(part); n == nil || err != nil {
			return nil, err
		}
	}
	return n, nil
}

// Sort puts nodes in the order that Dir promises.
func Sort(nodes []*Node) {
	sort.Slice(nodes, func(i, j int) bool { return nodes[i].Name < nodes[j].Name })
}

// CheckName tells why a name cannot stand in a directory, or nil.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("empty file name")
	case name == "." || name == "..":
		return fmt.Errorf("file name %q", name)
	case len(name) > 255:
		return fmt.Errorf("file name of %d bytes, more than 255", len(name))
	case strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("file name %q holds a slash or a NUL", name)
	}
	return nil
}
