package tree

import "strings"

// Flags are what chattr(1) sets and lsattr(1) shows of a file, as Linux's
// FS_IOC_GETFLAGS returns it (include/uapi/linux/fs.h, FS_*_FL; ext4 stores the
// same bits). A source sets those that it knows of.
type Flags uint32

// The flags that are asked for by name.
const (
	FlagImmutable Flags = 0x10 // may not be written, renamed or removed
	FlagAppend    Flags = 0x20 // may only be appended to

	// FlagMarked is set beside FlagImmutable and FlagAppend where it is not the file
	// itself that has them, but the mark of an overlay (trusted.overlay.protattr).
	// Linux keeps this bit free.
	FlagMarked Flags = 1 << 31
)

// FlagsTold are the flags that mean something to people: others say only how a
// file system stores a file.
const FlagsTold = 0x8000 | 0x20000 | FlagImmutable | FlagAppend | 0x01 | 0x02 | 0x04 | 0x08 | 0x40 | 0x80 |
	0x400 | 0x800 | 0x4000 | 0x10000 | 0x100000 | 0x800000 | 0x20000000 | 0x40000000

var flagNames = []struct {
	flag Flags
	name string
}{
	{FlagImmutable, "immutable"}, {FlagAppend, "append only"}, {0x40, "no dump"}, {0x80, "no atime"}, {0x08, "synchronous"},
	{0x10000, "synchronous directory"},
	{0x4000, "data journalled"}, {0x04, "compressed"}, {0x400, "not compressed"}, {0x800000, "no copy-on-write"}, {0x01, "secure deletion"},
	{0x02, "undeletable"},
	{0x800, "encrypted"}, {0x100000, "verity"}, {0x20000000, "project inherited"}, {0x40000000, "case folded"},
}

// Names returns the names of the flags that are told to people.
func (f Flags) Names() (names []string) {
	for _, n := range flagNames {
		if f&n.flag != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// String joins the names.
func (f Flags) String() string { return strings.Join(f.Names(), ", ") }
