package packages

import (
	"context"
	"crypto"

	"relive/tree"
)

// File is what a database tells of a file that a package brought.
type File struct {
	// Path is from the root of the system, without a leading slash.
	Path string
	Type tree.Type
	Perm uint16 // with setuid, setgid and sticky, as stat has them
	// Size is in bytes, of a regular file.
	Size int64
	// Hash is that of Digest, the sum of the content; 0 where there is none.
	Hash   crypto.Hash
	Digest []byte
	// Caps are the file's capabilities as cap_to_text writes them, "" for none.
	// rpm alone knows them.
	Caps string
	// Root: it belongs to root.
	Root bool
	// Config files are people's to change, and may stay when the package goes.
	Config bool
	// Ghost is a file that the package names and does not bring.
	Ghost bool
}

// Installed is an installed package and its files.
type Installed struct {
	Package
	files func(fn func(*File) error) error
}

// Files calls fn for each file and directory of the package. fn must not keep
// what it is given.
func (p *Installed) Files(fn func(*File) error) error { return p.files(fn) }

// Walk calls fn for each package of rpm or pacman that is installed in the tree,
// in the order of the database. The list that it gives tells where that is, and
// whether it is read, but not what is in it; nil where there is none. Of other
// package managers, whose databases hold no modes of files, it gives nil.
//
// rpm's header has type, mode, owner, size, sum and capabilities of each file
// (rpmtag.h), pacman's mtree the same but the capabilities (mtree(5); scripts/makepkg.sh.in).
func Walk(ctx context.Context, root *tree.Node, m Manager, fn func(p *Installed) error) (*List, error) {
	switch m {
	case RPM:
		return walkRPM(ctx, root, fn)
	case Pacman:
		return walkPacman(ctx, root, fn)
	}
	return nil, nil
}
