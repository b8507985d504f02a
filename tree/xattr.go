package tree

import (
	"sort"
	"strings"
)

// Xattr is one extended attribute under its full name, prefix included.
type Xattr struct {
	Name  string
	Value string
}

// Xattrs are the extended attributes of a file, sorted by name, each name once.
type Xattrs []Xattr

// Get returns the value of an attribute.
func (x Xattrs) Get(name string) (string, bool) {
	i := sort.Search(len(x), func(i int) bool { return x[i].Name >= name })
	if i < len(x) && x[i].Name == name {
		return x[i].Value, true
	}
	return "", false
}

// Equal reports whether both hold the same attributes.
func (x Xattrs) Equal(y Xattrs) bool {
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if x[i] != y[i] {
			return false
		}
	}
	return true
}

// Filter returns the attributes for which keep holds. The receiver is untouched
// and is itself returned where all are kept.
func (x Xattrs) Filter(keep func(Xattr) bool) Xattrs {
	for i := range x {
		if keep(x[i]) {
			continue
		}
		out := append(Xattrs(nil), x[:i]...)
		for _, a := range x[i+1:] {
			if keep(a) {
				out = append(out, a)
			}
		}
		return out
	}
	return x
}

// SortXattrs sorts by name, the order that Xattrs promises.
func SortXattrs(x Xattrs) {
	sort.Slice(x, func(i, j int) bool { return x[i].Name < x[j].Name })
}

// IsACL reports whether an attribute is one of the POSIX ACLs, which SquashFS
// cannot hold.
func (a Xattr) IsACL() bool { return strings.HasPrefix(a.Name, "system.posix_acl_") }
