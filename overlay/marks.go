package overlay

import (
	"errors"
	"fmt"
	"strings"

	"relive/tree"
)

// escape follows the namespace's prefix in the name of an attribute that
// belongs to an overlay mounted inside the overlay (xattrs.c,
// OVL_XATTR_ESCAPE_PREFIX).
const escape = "overlay."

// view returns a file's attributes as the union shows them: private ones are
// dropped, those of a nested overlay lose one level of escape unless they are
// to stay escaped.
func view(x tree.Xattrs, prefix string, escaped bool) tree.Xattrs {
	if prefix == "" {
		return x
	}
	first := -1
	for i := range x {
		if strings.HasPrefix(x[i].Name, prefix) {
			first = i
			break
		}
	}
	if first < 0 {
		return x
	}
	var out tree.Xattrs
	out = append(out, x[:first]...)
	for _, a := range x[first:] {
		rest, private := strings.CutPrefix(a.Name, prefix)
		if private {
			inner, nested := strings.CutPrefix(rest, escape)
			if !nested {
				continue
			}
			if !escaped {
				a.Name = prefix + inner
			}
		}
		out = append(out, a)
	}
	tree.SortXattrs(out)
	return out
}

// redirect returns the value of a node's redirect attribute as the kernel reads
// it (util.c, ovl_get_redirect_xattr). A name that cannot stand in a directory
// is an error only when it is looked up.
func (l *layer) redirect(n *tree.Node) (to string, ok bool, err error) {
	if l.prefix == "" {
		return "", false, nil
	}
	v, ok := n.Xattrs.Get(l.prefix + "redirect")
	if !ok {
		return "", false, nil
	}
	if v == "" {
		return "", false, errors.New("redirect is empty")
	}
	// The kernel takes the value for a C string.
	v, _, _ = strings.Cut(v, "\x00")
	rest, absolute := strings.CutPrefix(v, "/")
	if !absolute {
		if strings.Contains(v, "/") {
			return "", false, fmt.Errorf("redirect %q is neither absolute nor a name", v)
		}
		return v, true, nil
	}
	for name := range strings.SplitSeq(rest, "/") {
		if name == "" {
			return "", false, fmt.Errorf("redirect %q holds an empty name", v)
		}
	}
	return v, true, nil
}

// protected returns the flags of a file as the union shows them: those of the
// file, and what the attribute protattr says, "a" for append only and "i" for
// immutable (util.c, ovl_check_protattr). It stands for the flag itself, with
// which an upper file could not be changed any more, not even by the overlay. The
// kernel looks at upper files only, and takes no notice of a value with any other
// letter.
func (l *layer) protected(n *tree.Node) tree.Flags {
	f, own := n.Flags, n.Flags
	if l.prefix == "" || l.plain {
		return f
	}
	v, _ := n.Xattrs.Get(l.prefix + "protattr")
	const known = 32 // OVL_PROTATTR_MAX
	if len(v) > known {
		return f
	}
	for _, c := range v {
		switch c {
		case 'a':
			f |= tree.FlagAppend | tree.FlagMarked
		case 'i':
			f |= tree.FlagImmutable | tree.FlagMarked
		default:
			return own
		}
	}
	return f
}

// metacopyHeader is the size of struct ovl_metacopy without its digest
// (overlayfs.h): version, len, flags, digest_algo, a byte each.
const metacopyHeader = 4

// maxDigest is FS_VERITY_MAX_DIGEST_SIZE, the length of a SHA-512.
const maxDigest = 64

// metacopy reports whether a regular file holds no data of its own, and whether
// the mark carries an fs-verity digest (util.c, ovl_check_metacopy_xattr).
func (l *layer) metacopy(n *tree.Node) (is, digest bool, err error) {
	if l.prefix == "" || n.Type != tree.Regular {
		return false, false, nil
	}
	v, ok := n.Xattrs.Get(l.prefix + "metacopy")
	switch {
	case !ok:
		return false, false, nil
	case v == "":
		return true, false, nil
	case len(v) < metacopyHeader:
		return false, false, fmt.Errorf("metacopy attribute of %d bytes, fewer than %d", len(v), metacopyHeader)
	case v[0] != 0:
		return false, false, fmt.Errorf("metacopy attribute of version %d: %w", v[0], tree.ErrUnsupported)
	case int(v[1]) != len(v) || len(v) > metacopyHeader+maxDigest:
		return false, false, fmt.Errorf("metacopy attribute of %d bytes says that it has %d", len(v), v[1])
	}
	return true, v[3] != 0, nil
}
