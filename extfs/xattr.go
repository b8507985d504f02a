package extfs

import (
	"errors"
	"fmt"
	"strings"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// xattrTotalLimit bounds the values of one inode's attributes together, which
// with attribute inodes could otherwise name the same large value many times.
const xattrTotalLimit = 16 << 20

// inlineDataName is the attribute that continues a file's inline data; it is
// no attribute to those outside.
const inlineDataName = "system.data"

// xattrEntry is one decoded entry; the value is not read yet where it stands
// in an inode of its own.
type xattrEntry struct {
	index     uint8
	name      string // without the prefix that index stands for
	value     []byte
	valueSize uint32
	valueInum uint32
	hash      uint32
	offset    int // of a value that stands with the entries
}

// xattrPrefix returns the prefix of a name index; ok is false for one that is
// not known. hidden ones are of the file system's own concern.
func xattrPrefix(index uint8) (prefix string, hidden, ok bool) {
	switch index {
	case ondisk.XAIndexUser:
		return "user.", false, true
	case ondisk.XAIndexACLAccess:
		return "system.posix_acl_access", false, true
	case ondisk.XAIndexACLDefault:
		return "system.posix_acl_default", false, true
	case ondisk.XAIndexTrusted:
		return "trusted.", false, true
	case ondisk.XAIndexSecurity:
		return "security.", false, true
	case ondisk.XAIndexSystem:
		return "system.", false, true
	case ondisk.XAIndexRichACL:
		return "system.richacl", false, true
	case ondisk.XAIndexEncryption:
		return "", true, true
	case ondisk.XAIndexHurd:
		return "gnu.", false, true
	}
	return "", false, false
}

// xattrs returns the attributes of an inode, from its body and its block. Where
// both have one of the same name, the body's counts, as in the kernel.
func (fs *FS) xattrs(in *inode) (tree.Xattrs, error) {
	if in.body == nil && in.fileACL == 0 {
		return nil, nil
	}
	var out tree.Xattrs
	total := 0
	add := func(entries []xattrEntry, place string) error {
		from := len(out)
		for i := range entries {
			a, ok, err := fs.xattr(in, &entries[i], place, &total)
			if err != nil {
				return err
			}
			if ok {
				out = append(out, a)
			}
		}
		part := out[from:]
		tree.SortXattrs(part)
		for i := 1; i < len(part); i++ {
			if part[i].Name == part[i-1].Name {
				return fs.corrupt(in, "%s: %q stands there twice", place, part[i].Name)
			}
		}
		return nil
	}
	entries, err := fs.bodyEntries(in)
	if err != nil {
		return nil, err
	}
	if err := add(entries, "attributes in the inode"); err != nil {
		return nil, err
	}
	body := len(out)
	if in.fileACL != 0 {
		place := fmt.Sprintf("attribute block %d", in.fileACL)
		if entries, err = fs.blockEntries(in, place); err != nil {
			return nil, err
		}
		if err := add(entries, place); err != nil {
			return nil, err
		}
	}
	if body == 0 || body == len(out) {
		return out, nil
	}
	inBody := out[:body:body]
	out = append(inBody, out[body:].Filter(func(a tree.Xattr) bool {
		_, shadowed := inBody.Get(a.Name)
		return !shadowed
	})...)
	tree.SortXattrs(out)
	return out, nil
}

// xattr turns an entry into the attribute that user space sees; ok is false
// for one that it does not see.
func (fs *FS) xattr(in *inode, e *xattrEntry, place string, total *int) (a tree.Xattr, ok bool, err error) {
	prefix, hidden, known := xattrPrefix(e.index)
	if !known {
		return a, false, tree.Unsupported(fs.name, in.place(), "%s: attribute %q has name index %d", place, e.name, e.index)
	}
	a.Name = prefix + e.name
	if hidden || a.Name == inlineDataName {
		return a, false, nil
	}
	if a.Name == prefix && strings.HasSuffix(prefix, ".") {
		return a, false, fs.corrupt(in, "%s: attribute with an empty name after %q", place, prefix)
	}
	if *total += int(e.valueSize); *total > xattrTotalLimit || e.valueSize > ondisk.XAMaxValue {
		return a, false, tree.Unsupported(fs.name, in.place(), "%s: attribute %q of %d bytes is longer than user space can read", place,
			a.Name, e.valueSize)
	}
	value := e.value
	if e.valueInum != 0 {
		if value, err = fs.xattrInodeValue(in, e, place); err != nil {
			return a, false, err
		}
	}
	if e.index == ondisk.XAIndexACLAccess || e.index == ondisk.XAIndexACLDefault {
		acl, err := ondisk.DecodeACL(value)
		if errors.Is(err, tree.ErrUnsupported) {
			return a, false, tree.Unsupported(fs.name, in.place(), "%s: %q: %v", place, a.Name, err)
		}
		if err != nil {
			return a, false, fs.corrupt(in, "%s: %q: %v", place, a.Name, err)
		}
		a.Value = acl
		return a, acl != "", nil
	}
	a.Value = string(value)
	return a, true, nil
}

// bodyEntries lists the attributes in the inode's body, inline data included.
func (fs *FS) bodyEntries(in *inode) ([]xattrEntry, error) {
	if in.body == nil {
		return nil, nil
	}
	// Offsets of values count from the first entry.
	return fs.xattrEntries(in, in.body[ondisk.XABodyHdrSize:], 0, "attributes in the inode")
}

// blockEntries lists the attributes in the block that an inode names.
func (fs *FS) blockEntries(in *inode, place string) ([]xattrEntry, error) {
	if !fs.geo.checkBlocks(in.fileACL, 1) {
		return nil, fs.corrupt(in, "%s is outside of the file system", place)
	}
	p, err := fs.block(in.fileACL, kindXattr, 0, func(p []byte) error {
		if m := ondisk.LE32(p, ondisk.XAHdrMagic); m != ondisk.XAMagic {
			return tree.Corrupt(fs.name, place, "magic number %#08x", m)
		}
		if n := ondisk.LE32(p, ondisk.XAHdrBlocks); n != 1 {
			return tree.Corrupt(fs.name, place, "%d blocks long", n)
		}
		if !fs.geo.metadataCsum() {
			return nil
		}
		want, got := ondisk.LE32(p, ondisk.XAHdrCsum), ondisk.XattrBlockChecksum(fs.geo.seed, in.fileACL, p)
		if want != got {
			return tree.Corrupt(fs.name, place, "checksum is %#08x, the content gives %#08x", want, got)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// Offsets of values count from the start of the block.
	return fs.xattrEntries(in, p, ondisk.XAHdrSize, place)
}

// xattrEntries decodes the entries from first on; offsets of values count from
// the start of p. Four zero bytes end the list, and no value may begin before
// that end.
func (fs *FS) xattrEntries(in *inode, p []byte, first int, place string) ([]xattrEntry, error) {
	bad := func(fact string, args ...any) error {
		return fs.corrupt(in, "%s: %s", place, fmt.Sprintf(fact, args...))
	}
	var out []xattrEntry
	at := first
	for {
		if at+4 > len(p) {
			return nil, bad("the list of entries has no end")
		}
		if ondisk.LE32(p, at) == 0 {
			break
		}
		if at+ondisk.XAEntrySize > len(p) {
			return nil, bad("entry at %d does not fit", at)
		}
		nameLen := int(p[at+ondisk.XANameLen])
		next := at + (ondisk.XAName+nameLen+ondisk.XAAlign-1)&^(ondisk.XAAlign-1)
		if next > len(p) {
			return nil, bad("entry at %d does not fit", at)
		}
		e := xattrEntry{
			index:     p[at+ondisk.XANameIndex],
			name:      string(p[at+ondisk.XAName : at+ondisk.XAName+nameLen]),
			valueSize: ondisk.LE32(p, at+ondisk.XAValueSize),
			valueInum: ondisk.LE32(p, at+ondisk.XAValueInum),
			hash:      ondisk.LE32(p, at+ondisk.XAHash),
		}
		if strings.IndexByte(e.name, 0) >= 0 {
			return nil, bad("entry at %d: name %q holds a NUL", at, e.name)
		}
		if e.valueInum == 0 && e.valueSize > 0 {
			off := int(ondisk.LE16(p, at+ondisk.XAValueOffs))
			if off > len(p) || int64(e.valueSize) > int64(len(p)-off) {
				return nil, bad("entry at %d: %d bytes of value at %d do not fit", at, e.valueSize, off)
			}
			e.value, e.offset = p[off:off+int(e.valueSize)], off
		}
		out = append(out, e)
		at = next
	}
	for i := range out {
		if out[i].value != nil && out[i].offset < at+4 {
			return nil, bad("the value of %q overlaps the entries", out[i].name)
		}
	}
	return out, nil
}

// xattrInodeValue reads a value that stands in an inode of its own (ea_inode),
// and checks the hashes in that inode and in the entry.
func (fs *FS) xattrInodeValue(in *inode, e *xattrEntry, place string) ([]byte, error) {
	bad := func(fact string, args ...any) error {
		return fs.corrupt(in, "%s: attribute %q in inode %d: %s", place, e.name, e.valueInum, fmt.Sprintf(fact, args...))
	}
	if !fs.geo.hasIncompat(ondisk.IncompatEAInode) {
		return nil, bad("the file system does not have the ea_inode feature")
	}
	ea, err := fs.inode(e.valueInum)
	if err != nil {
		return nil, err
	}
	if !ea.has(ondisk.FlEAInode) || ea.has(ondisk.FlInlineData) || ea.mode&ondisk.ModeFmt != ondisk.ModeReg {
		return nil, bad("that inode holds no attribute")
	}
	if ea.size != int64(e.valueSize) {
		return nil, bad("%d bytes, the entry says %d", ea.size, e.valueSize)
	}
	value := make([]byte, e.valueSize)
	if err := tree.ReadFull(&blockContent{fs: fs, in: ea}, value, 0); err != nil {
		return nil, err
	}
	hash := ondisk.CRC32C(fs.geo.seed, value)
	if hash != ea.atimeRaw && uint32(ea.mtime.Sec) == in.number && ea.generation == in.generation {
		// As the kernel tells it (fs/ext4/xattr.c, ext4_xattr_inode_iget): where
		// others have a hash, Lustre has a way back to the owner.
		return nil, tree.Unsupported(fs.name, in.place(), "%s: attribute %q in inode %d: ea_inode in Lustre's form, with a back "+
			"reference to the file in place of a hash, is not supported",
			place, e.name, e.valueInum)
	}
	if hash != ea.atimeRaw {
		return nil, bad("its hash is %#08x, the value gives %#08x", ea.atimeRaw, hash)
	}
	if e.hash != xattrEntryHash(e.name, hash, false) && e.hash != xattrEntryHash(e.name, hash, true) {
		return nil, bad("the entry's hash %#08x does not fit", e.hash)
	}
	return value, nil
}

// xattrEntryHash is the hash of an entry whose value is represented by one
// word. Kernels before 6.3 took the bytes of the name as signed where char is.
func xattrEntryHash(name string, word uint32, signed bool) uint32 {
	var h uint32
	for i := range len(name) {
		c := uint32(name[i])
		if signed {
			c = uint32(int32(int8(name[i])))
		}
		h = h<<ondisk.XAHashNameShift ^ h>>(32-ondisk.XAHashNameShift) ^ c
	}
	return h<<ondisk.XAHashValueShift ^ h>>(32-ondisk.XAHashValueShift) ^ word
}
