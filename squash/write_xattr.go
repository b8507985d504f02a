package squash

import (
	"encoding/binary"
	"fmt"
	"strings"

	"relive/squash/internal/ondisk"
	"relive/tree"
)

// xattrSets gives each distinct set of extended attributes an index, in the
// order in which the tree has them.
type xattrSets struct {
	index map[string]uint32
	sets  []tree.Xattrs
}

// splitXattr splits a full name into the number of its prefix and the rest; ok
// is false where SquashFS has no such prefix.
func splitXattr(name string) (prefix uint16, rest string, ok bool) {
	for i, p := range ondisk.XattrPrefixes {
		if rest, ok = strings.CutPrefix(name, p); ok {
			return uint16(i), rest, true
		}
	}
	return 0, "", false
}

// storable returns the attributes that SquashFS can hold.
func storable(x tree.Xattrs) tree.Xattrs {
	return x.Filter(func(a tree.Xattr) bool {
		_, _, ok := splitXattr(a.Name)
		return ok
	})
}

func xattrKey(x tree.Xattrs) string {
	var b []byte
	for _, a := range x {
		b = binary.AppendUvarint(b, uint64(len(a.Name)))
		b = append(b, a.Name...)
		b = binary.AppendUvarint(b, uint64(len(a.Value)))
		b = append(b, a.Value...)
	}
	return string(b)
}

// add takes up a node's attributes; those that cannot be held are counted.
func (s *xattrSets) add(x tree.Xattrs, none bool, dropped map[string]uint64) error {
	if len(x) == 0 {
		return nil
	}
	keep := storable(x)
	if none {
		keep = nil
	}
	if len(keep) < len(x) {
		for _, a := range x {
			if _, ok := keep.Get(a.Name); !ok {
				dropped[a.Name]++
			}
		}
	}
	if len(keep) == 0 {
		return nil
	}
	for _, a := range keep {
		if len(a.Name) > 255 || len(a.Value) > 65536 {
			return fmt.Errorf("attribute %q with a value of %d bytes is larger than Linux allows", a.Name, len(a.Value))
		}
	}
	key := xattrKey(keep)
	if _, ok := s.index[key]; !ok {
		if s.index == nil {
			s.index = map[string]uint32{}
		}
		s.index[key] = uint32(len(s.sets))
		s.sets = append(s.sets, keep)
	}
	return nil
}

// id returns the index of a node's set, or NoXattr.
func (s *xattrSets) id(x tree.Xattrs, none bool) uint32 {
	if len(x) == 0 || none {
		return ondisk.NoXattr
	}
	keep := storable(x)
	if len(keep) == 0 {
		return ondisk.NoXattr
	}
	return s.index[xattrKey(keep)]
}

// sharedValue is the length from which a value that occurred before is stored
// as a reference: the reference itself takes eight bytes.
const sharedValue = 16

// encode writes all pairs through m and gives the id table's entries.
func (s *xattrSets) encode(m *metadataWriter) ([]byte, error) {
	values := map[string]ondisk.Ref{}
	ids := make([]byte, 0, len(s.sets)*ondisk.XattrIDSize)
	var b []byte
	for _, set := range s.sets {
		id := ondisk.XattrID{Ref: m.ref(), Count: uint32(len(set))}
		for _, a := range set {
			prefix, rest, _ := splitXattr(a.Name)
			id.Size += uint32(len(a.Name) + 1 + len(a.Value))
			ref, shared := values[a.Value]
			if shared {
				prefix |= ondisk.XattrOutOfLine
			}
			b = ondisk.AppendXattrKey(b[:0], prefix, rest)
			if err := m.write(b); err != nil {
				return nil, err
			}
			b = b[:0]
			if shared {
				b = binary.LittleEndian.AppendUint32(b, 8)
				b = binary.LittleEndian.AppendUint64(b, uint64(ref))
			} else {
				if len(a.Value) >= sharedValue {
					values[a.Value] = m.ref()
				}
				b = binary.LittleEndian.AppendUint32(b, uint32(len(a.Value)))
				b = append(b, a.Value...)
			}
			if err := m.write(b); err != nil {
				return nil, err
			}
		}
		ids = id.Append(ids)
	}
	return ids, nil
}

// HoldsXattr reports whether SquashFS can hold an attribute of that full name:
// one of user, trusted and security.
func HoldsXattr(name string) bool {
	_, _, ok := splitXattr(name)
	return ok
}
