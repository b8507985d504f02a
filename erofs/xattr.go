package erofs

import (
	"encoding/binary"
	"fmt"
	"strings"

	"relive/erofs/internal/ondisk"
	"relive/tree"
)

// Limits of Linux (include/uapi/linux/limits.h), which no attribute that ever was on
// a file system exceeds.
const (
	xattrNameMax = 255
	xattrListMax = 65536
)

// xattrs gives the attributes of an inode.
func (m *nodeMaker) xattrs(n *inode) (tree.Xattrs, error) {
	r := m.r
	size := n.tail - n.body
	// A body that is all head makes every call for attributes fail with "not
	// supported", as on a file system that has none.
	if size <= ondisk.XattrHeaderSize {
		return nil, nil
	}
	body := make([]byte, size)
	if err := r.readMeta(body, n.body); err != nil {
		return nil, tree.Within(err, "attributes")
	}
	head := ondisk.DecodeXattrHeader(body)
	rest := body[ondisk.XattrHeaderSize:]
	if int(head.Shared)*ondisk.XattrIDSize > len(rest) {
		return nil, r.corrupt("attributes", "%d ids in a body of %d bytes", head.Shared, size)
	}
	out := make(tree.Xattrs, 0, head.Shared)
	for range head.Shared {
		id := binary.LittleEndian.Uint32(rest)
		rest = rest[ondisk.XattrIDSize:]
		x, err := m.sharedXattr(n, id)
		if err != nil {
			return nil, err
		}
		if x.Name != "" {
			out = append(out, x)
		}
	}
	for at := int(size) - len(rest); at < int(size); {
		x, used, err := r.xattr(body[at:])
		if err != nil {
			return nil, tree.Within(err, "attribute at byte %d of %d", at, size)
		}
		at += used
		if x.Name == "" {
			continue
		}
		if err := m.charge(n, len(x.Name)+len(x.Value)); err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	tree.SortXattrs(out)
	names := 0
	for k := range out {
		// The kernel lists names with a NUL each.
		if names += len(out[k].Name) + 1; names > xattrListMax {
			return nil, r.corrupt("attributes", "names take more than %d bytes", xattrListMax)
		}
		if k > 0 && out[k].Name == out[k-1].Name {
			return nil, r.corrupt("attributes", "%s comes twice", out[k].Name)
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// xattr decodes the attribute at the start of b and tells how many bytes it takes.
// One without a prefix is padding, and has no name.
func (r *Reader) xattr(b []byte) (x tree.Xattr, used int, err error) {
	if len(b) < ondisk.XattrEntrySize {
		return x, 0, r.corrupt("", "%d bytes are left, less than an attribute has", len(b))
	}
	e := ondisk.DecodeXattrEntry(b)
	used = e.Len()
	if used > len(b) {
		return x, 0, r.corrupt("", "it takes %d bytes, where %d are left", used, len(b))
	}
	if e.Index == 0 {
		return x, used, nil
	}
	b = b[ondisk.XattrEntrySize:]
	x.Name, err = r.xattrName(e.Index, string(b[:e.NameLen]))
	x.Value = string(b[e.NameLen:][:e.ValueLen])
	return x, used, err
}

// xattrName joins a prefix and the rest of a name.
func (r *Reader) xattrName(index uint8, rest string) (string, error) {
	var prefix string
	switch {
	case index&ondisk.XattrLong != 0:
		i := int(index &^ ondisk.XattrLong)
		if i >= len(r.prefixes) {
			return "", r.corrupt("", "there is no prefix %d, only %d", i, len(r.prefixes))
		}
		prefix = r.prefixes[i]
	default:
		if prefix = ondisk.XattrPrefix(index); prefix == "" {
			return "", tree.Unsupported(r.name, "", "attribute prefix %d is unknown", index)
		}
	}
	whole := index == ondisk.XattrACLAccess || index == ondisk.XattrACLDefault
	name := prefix + rest
	switch {
	case whole != (name == ondisk.XattrPrefix(index)):
		return "", r.corrupt("", "attribute name of %d bytes after %q", len(rest), prefix)
	case len(name) > xattrNameMax:
		return "", r.corrupt("", "attribute name of %d bytes", len(name))
	case strings.IndexByte(name, 0) >= 0:
		return "", r.corrupt("", "attribute name %q holds a NUL", name)
	}
	return name, nil
}

// sharedXattr gives a shared attribute.
func (m *nodeMaker) sharedXattr(n *inode, id uint32) (tree.Xattr, error) {
	if x, ok := m.shared[id]; ok {
		return x, nil
	}
	x, err := m.r.xattrs.Get(id)
	if err != nil {
		return x, err
	}
	if m.shared == nil {
		m.shared = make(map[uint32]tree.Xattr)
	}
	m.shared[id] = x
	return x, m.charge(n, len(x.Name)+len(x.Value))
}

// loadShared reads a shared attribute.
func (r *Reader) loadShared(id uint32) (tree.Xattr, int64, error) {
	place := func() string { return fmt.Sprintf("shared attribute %d", id) }
	at := r.blockAt(uint64(r.super.XattrBlock)) + int64(id)*4
	var head [ondisk.XattrEntrySize]byte
	if err := r.readMeta(head[:], at); err != nil {
		return tree.Xattr{}, 0, tree.Within(err, "%s", place())
	}
	e := ondisk.DecodeXattrEntry(head[:])
	// The last one need not be padded.
	b := make([]byte, e.Len())
	if err := r.readMeta(b[:ondisk.XattrEntrySize+int(e.NameLen)+int(e.ValueLen)], at); err != nil {
		return tree.Xattr{}, 0, tree.Within(err, "%s", place())
	}
	x, _, err := r.xattr(b)
	if err != nil {
		return tree.Xattr{}, 0, tree.Within(err, "%s", place())
	}
	return x, int64(32 + len(x.Name) + len(x.Value)), nil
}

// readPrefixes reads the long prefixes: each two bytes of length, an index of a short
// prefix and what follows that, at a multiple of four.
func (r *Reader) readPrefixes() error {
	s := &r.super
	if s.PrefixCount == 0 {
		return nil
	}
	read := r.readMeta
	if r.packed != nil && s.Compat&ondisk.CompatPlainPrefixes == 0 {
		read = func(p []byte, off int64) error { return r.readPacked(p, off) }
	}
	at := int64(s.PrefixStart) * 4
	for i := range s.PrefixCount {
		at = up(at, 4)
		var head [3]byte
		if err := read(head[:], at); err != nil {
			return tree.Within(err, "attribute prefix %d", i)
		}
		n := int(binary.LittleEndian.Uint16(head[:]))
		base := ondisk.XattrPrefix(head[2])
		if base == "" {
			return tree.Unsupported(r.name, fmt.Sprintf("attribute prefix %d", i), "its own prefix %d is unknown", head[2])
		}
		if n == 0 || n-1+len(base) > xattrNameMax {
			return r.corrupt(fmt.Sprintf("attribute prefix %d", i), "has %d bytes", n)
		}
		infix := make([]byte, n-1)
		if err := read(infix, at+3); err != nil {
			return tree.Within(err, "attribute prefix %d", i)
		}
		r.prefixes = append(r.prefixes, base+string(infix))
		at += 2 + int64(n)
	}
	return nil
}
