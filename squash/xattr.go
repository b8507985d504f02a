package squash

import (
	"encoding/binary"
	"strings"

	"relive/squash/internal/ondisk"
	"relive/tree"
)

// Limits of Linux (include/uapi/linux/limits.h), which no attribute that ever
// was on a file system exceeds, and one of our own for what one inode's
// attributes take in memory: an image can name one long value many times.
const (
	xattrNameMax  = 255
	xattrListMax  = 65536
	xattrValueMax = 65536
	xattrTotalMax = 16 << 20
)

// xattrID returns an entry of the xattr id table, which must have it.
func (r *Reader) xattrID(i uint32) (ondisk.XattrID, error) {
	b, err := r.indexed(r.xattrIDs, i, ondisk.XattrIDSize)
	if err != nil {
		return ondisk.XattrID{}, err
	}
	return ondisk.DecodeXattrID(b), nil
}

// loadXattrs reads the attributes that entry i of the xattr id table names.
func (r *Reader) loadXattrs(i uint32) (tree.Xattrs, int64, error) {
	x, err := r.readXattrs(i, nil)
	if err != nil {
		return nil, 0, tree.Within(err, "xattr id %d", i)
	}
	size := int64(0)
	for _, a := range x {
		size += 32 + int64(len(a.Name)+len(a.Value))
	}
	return x, size, nil
}

// xattrTrace is how the attributes of an entry are stored.
type xattrTrace struct {
	pairs  int          // bytes of the pairs
	values []ondisk.Ref // of the values that are out of line
}

// readXattrs reads attributes (format.adoc, "Xattr Table"). trace may be nil.
func (r *Reader) readXattrs(i uint32, trace *xattrTrace) (tree.Xattrs, error) {
	id, err := r.xattrID(i)
	if err != nil {
		return nil, err
	}
	c, values := r.cursor(&r.pairs), r.cursor(&r.pairs)
	if err := c.seek(id.Ref); err != nil {
		return nil, err
	}
	var (
		out          tree.Xattrs
		names, total int
	)
	for range id.Count {
		name, typ, err := r.xattrKey(c)
		if err != nil {
			return nil, err
		}
		// The kernel lists names with a NUL each.
		if names += len(name) + 1; names > xattrListMax {
			return nil, r.corrupt("", "names take more than %d bytes", xattrListMax)
		}
		if trace != nil {
			trace.pairs += ondisk.XattrKeySize + len(name) - len(ondisk.XattrPrefixes[typ&^ondisk.XattrOutOfLine])
		}
		value, err := r.xattrValue(c, values, typ, trace)
		if err != nil {
			return nil, tree.Within(err, "%s", name)
		}
		if total += len(value); total > xattrTotalMax {
			return nil, tree.Unsupported(r.name, "", "values take more than %d bytes", xattrTotalMax)
		}
		out = append(out, tree.Xattr{Name: name, Value: value})
	}
	tree.SortXattrs(out)
	for k := 1; k < len(out); k++ {
		if out[k].Name == out[k-1].Name {
			return nil, r.corrupt(out[k].Name, "comes twice")
		}
	}
	return out, nil
}

// xattrKey reads the name of an attribute, prefix included, and its type.
func (r *Reader) xattrKey(c *cursor) (name string, typ uint16, err error) {
	b, err := c.bytes(ondisk.XattrKeySize)
	if err != nil {
		return "", 0, err
	}
	typ = binary.LittleEndian.Uint16(b)
	n := int(binary.LittleEndian.Uint16(b[2:]))
	prefix := typ &^ ondisk.XattrOutOfLine
	if int(prefix) >= len(ondisk.XattrPrefixes) {
		return "", 0, tree.Unsupported(r.name, "", "attribute prefix %d is unknown", prefix)
	}
	if n == 0 || n+len(ondisk.XattrPrefixes[prefix]) > xattrNameMax {
		return "", 0, r.corrupt("", "attribute name of %d bytes after %q", n, ondisk.XattrPrefixes[prefix])
	}
	if b, err = c.bytes(n); err != nil {
		return "", 0, err
	}
	name = ondisk.XattrPrefixes[prefix] + string(b)
	if strings.IndexByte(name, 0) >= 0 {
		return "", 0, r.corrupt("", "attribute name %q holds a NUL", name)
	}
	return name, typ, nil
}

// xattrValue reads an attribute's value, with the second cursor where it is
// out of line.
func (r *Reader) xattrValue(c, values *cursor, typ uint16, trace *xattrTrace) (string, error) {
	b, err := c.bytes(4)
	if err != nil {
		return "", err
	}
	n := binary.LittleEndian.Uint32(b)
	outOfLine := typ&ondisk.XattrOutOfLine != 0
	if outOfLine {
		if n != 8 {
			return "", r.corrupt("", "reference to a value takes %d bytes, not 8", n)
		}
		if b, err = c.bytes(8); err != nil {
			return "", err
		}
		ref := ondisk.Ref(binary.LittleEndian.Uint64(b))
		c = values
		if err := c.seek(ref); err != nil {
			return "", tree.Within(err, "value at %#x", uint64(ref))
		}
		if b, err = c.bytes(4); err != nil {
			return "", err
		}
		n = binary.LittleEndian.Uint32(b)
		if trace != nil {
			trace.values = append(trace.values, ref)
			trace.pairs += 4 + 8
		}
	}
	if n > xattrValueMax {
		return "", r.corrupt("", "value of %d bytes, more than %d", n, xattrValueMax)
	}
	if trace != nil && !outOfLine {
		trace.pairs += 4 + int(n)
	}
	value := make([]byte, n)
	if err := c.read(value); err != nil {
		return "", err
	}
	return string(value), nil
}
