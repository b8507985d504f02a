package tree

// List is a Dir whose children are in memory, in the order that Dir promises.
type List []*Node

// Children implements Dir.
func (l List) Children() ([]*Node, error) { return l, nil }

// Lookup implements Lookuper.
func (l List) Lookup(name string) (*Node, error) { return Find(l, name), nil }

// NewDir makes a directory node of children, which it sorts.
func NewDir(name string, perm uint16, children ...*Node) *Node {
	Sort(children)
	return &Node{Name: name, Meta: Meta{Type: Directory, Perm: perm}, Nlink: 1, Dir: List(children)}
}

// NewFile makes a regular file whose content is in memory.
func NewFile(name string, perm uint16, content []byte) *Node {
	return &Node{Name: name, Meta: Meta{Type: Regular, Perm: perm, Size: int64(len(content))}, Nlink: 1, Data: Bytes(content)}
}

// NewSymlink makes a symlink.
func NewSymlink(name, target string) *Node {
	return &Node{Name: name, Meta: Meta{Type: Symlink, Perm: 0o777, Size: int64(len(target)), Target: target}, Nlink: 1}
}
