package threeway

import (
	"relive/tree"
)

// owner is what chown sets.
type owner struct{ uid, gid uint32 }

// pick merges one value of which each side has one; has tells whether base has
// one as well.
func pick[T comparable](has bool, base, ours, theirs T) (v T, conflict bool) {
	switch {
	case ours == theirs, has && base == ours:
		return theirs, false
	case has && base == theirs:
		return ours, false
	}
	return ours, true
}

// optional is the value of an attribute, where there is one.
type optional struct {
	value string
	there bool
}

// attributes merges mode, owner and extended attributes, which are independent
// of each other. Where they cannot be merged it gives false.
func attributes(base, ours, theirs *tree.Node) (n tree.Node, ok bool) {
	has := base != nil && base.Type == ours.Type
	if base == nil {
		base = &tree.Node{}
	}
	n = *theirs
	var a, b bool
	var own owner
	n.Perm, a = pick(has, base.Perm, ours.Perm, theirs.Perm)
	own, b = pick(has, owner{base.UID, base.GID}, owner{ours.UID, ours.GID}, owner{theirs.UID, theirs.GID})
	n.UID, n.GID = own.uid, own.gid
	if a || b {
		return n, false
	}
	if ours.Xattrs.Equal(theirs.Xattrs) {
		return n, true
	}
	names := map[string]bool{}
	for _, n := range [3]*tree.Node{base, ours, theirs} {
		for _, x := range n.Xattrs {
			names[x.Name] = true
		}
	}
	n.Xattrs = nil
	for name := range names {
		var v [3]optional
		for i, n := range [3]*tree.Node{base, ours, theirs} {
			v[i].value, v[i].there = n.Xattrs.Get(name)
		}
		x, conflict := pick(has, v[0], v[1], v[2])
		if conflict {
			return n, false
		}
		if x.there {
			n.Xattrs = append(n.Xattrs, tree.Xattr{Name: name, Value: x.value})
		}
	}
	tree.SortXattrs(n.Xattrs)
	return n, true
}

// sameMeta compares what attributes merges.
func sameMeta(a, b *tree.Node) bool {
	return a.Type == b.Type && a.Perm == b.Perm && a.UID == b.UID && a.GID == b.GID && a.Xattrs.Equal(b.Xattrs)
}

// directoryMeta merges all of a directory but what is in it.
func (m *merger) directoryMeta(path string, base, ours, theirs *tree.Node) (tree.Node, error) {
	n, ok := attributes(base, ours, theirs)
	if ok {
		n.Mtime = laterChange(isDir(base), base, ours, theirs)
		return n, nil
	}
	var alone [3]*tree.Node
	for i, n := range [3]*tree.Node{base, ours, theirs} {
		if n == nil {
			continue
		}
		c := *n
		alone[i] = &c
		if n.Type == tree.Directory {
			c.Inode, c.Dir = tree.Inode{}, tree.List(nil)
		}
	}
	n2, err := m.conflict(path, alone[0], alone[1], alone[2])
	if err != nil {
		return n, err
	}
	return *n2, nil
}

// laterChange merges times: of two changes it is the later.
func laterChange(has bool, base, ours, theirs *tree.Node) tree.Time {
	switch {
	case has && base.Mtime.Whole() == ours.Mtime.Whole():
		return theirs.Mtime
	case has && base.Mtime.Whole() == theirs.Mtime.Whole(), theirs.Mtime.Before(ours.Mtime):
		return ours.Mtime
	}
	return theirs.Mtime
}

// file merges two nodes of the same type, which are no directories. base may be
// anything, or nil.
func (m *merger) file(path string, base, ours, theirs *tree.Node) (*tree.Node, error) {
	const body = tree.Contents | tree.LinkText | tree.Device
	theirBody, ourBody := false, false // whose it can only be
	has := base != nil && base.Type == ours.Type
	changed, brought := body, body
	var text []byte
	merged := false
	var err error
	if has {
		if changed, err = m.differences(base, ours, false); err != nil {
			return nil, err
		}
		if brought, err = m.differences(base, theirs, false); err != nil {
			return nil, err
		}
		switch {
		case changed == 0 && brought == 0 && ours.Nlink > 1:
			return ours, nil // which may have come up to get another name
		case changed == 0:
			return theirs, nil
		case brought == 0:
			return ours, nil
		}
	}
	apart, err := m.differences(ours, theirs, false)
	if err != nil {
		return nil, err
	}
	if apart == 0 {
		return theirs, nil
	}
	n, ok := attributes(base, ours, theirs)
	if !ok {
		return m.conflict(path, base, ours, theirs)
	}
	switch {
	case apart&body == 0:
	case changed&body == 0:
		theirBody = true
	case brought&body == 0:
		ourBody = true
	case has && ours.Type == tree.Regular && m.o.Content != nil:
		if text, merged, err = m.o.Content(path, base, ours, theirs); err != nil {
			return nil, err
		}
		if !merged {
			return m.conflict(path, base, ours, theirs)
		}
	default:
		return m.conflict(path, base, ours, theirs)
	}
	if merged {
		n.Data, n.Was, n.Size = tree.Bytes(text), nil, int64(len(text))
		n.Mtime = laterChange(false, base, ours, theirs)
		n.Inode = m.inode(trio{base.Inode, ours.Inode, theirs.Inode})
		n.Nlink = max(ours.Nlink, theirs.Nlink)
		return &n, nil
	}
	switch {
	case ourBody:
		n.Mtime = ours.Mtime
	case !theirBody:
		n.Mtime = laterChange(has, base, ours, theirs)
	}
	switch {
	case !ourBody && sameMeta(&n, theirs) && n.Mtime == theirs.Mtime:
		return theirs, nil
	case !theirBody && sameMeta(&n, ours) && n.Mtime == ours.Mtime:
		return ours, nil
	}
	if ourBody {
		n.Data, n.Was, n.Size, n.Target, n.Rdev = ours.Data, ours.Was, ours.Size, ours.Target, ours.Rdev
	}
	n.Inode = tree.Inode{}
	if has {
		n.Inode = m.inode(trio{base.Inode, ours.Inode, theirs.Inode})
	}
	n.Nlink = max(ours.Nlink, theirs.Nlink)
	return &n, nil
}

// inode returns a mixed file its identity.
func (m *merger) inode(of trio) tree.Inode {
	var none tree.Inode
	if of.base == none || of.ours == none || of.theirs == none {
		return none
	}
	i, ok := m.mixed[of]
	if !ok {
		i = tree.Inode{Source: m, Number: uint64(len(m.mixed) + 1)}
		m.mixed[of] = i
	}
	return i
}
