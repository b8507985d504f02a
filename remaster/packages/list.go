package packages

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"relive/tree"
)

// Manager is a package manager.
type Manager uint8

// The package managers.
const (
	Dpkg Manager = iota + 1
	RPM
	Pacman
	Apk
)

func (m Manager) String() string {
	if m < Dpkg || m > Apk {
		return fmt.Sprintf("manager %d", uint8(m))
	}
	return [...]string{"dpkg", "rpm", "pacman", "apk"}[m-Dpkg]
}

// Package is an installed package.
type Package struct {
	Name string
	// Version is the whole version in the manager's own form, with epoch and
	// release: "1:2.3-4".
	Version string
	// Arch is the architecture in the manager's own terms; empty where it names
	// none, as rpm's keys do.
	Arch string
	// Same tells of a package of dpkg that may be installed for several
	// architectures at once (Multi-Arch: same).
	Same bool
}

// List is what one package manager has installed.
type List struct {
	Manager Manager
	// Source is the database's path in the tree, without a leading slash.
	Source string
	// Packages are sorted by name, then architecture, then version.
	Packages []Package
	// Unread tells why the database was not read, in words; empty where it was.
	Unread string
	// Native is dpkg's own architecture, empty for others.
	Native string
}

// maxPackages bounds the packages of a database.
const maxPackages = 1 << 20

// Find lists the packages of each package manager that has a database in the
// tree, in the order of the Managers. A database without a package is left out,
// as that of an rpm that is installed on Debian. A tree without any gives none.
func Find(ctx context.Context, root *tree.Node) ([]List, error) {
	var lists []List
	for _, read := range []func(context.Context, *tree.Node) (*List, error){readDpkg, readRPM, readPacman, readApk} {
		l, err := read(ctx, root)
		if err != nil {
			return nil, err
		}
		if l == nil || len(l.Packages) == 0 && l.Unread == "" {
			continue
		}
		slices.SortFunc(l.Packages, func(a, b Package) int {
			return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.Version, b.Version))
		})
		lists = append(lists, *l)
	}
	return lists, nil
}

// Write writes the list as the manager's tool does, a package a line:
//
//	dpkg-query -W   name[:arch]<TAB>version
//	rpm -qa         name-version-release[.arch], without the epoch, sorted
//	pacman -Q       name version
//	apk info -v     name-version
//
// dpkg's packages have their architecture where it is not the system's own, or
// where the package may be there for several.
func (l *List) Write(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, p := range l.Packages {
		fmt.Fprintln(b, l.line(p))
	}
	return b.Flush()
}

func (l *List) line(p Package) string {
	switch l.Manager {
	case Dpkg:
		if p.Same || p.Arch != "all" && p.Arch != "" && l.Native != "" && p.Arch != l.Native {
			return p.Name + ":" + p.Arch + "\t" + p.Version
		}
		return p.Name + "\t" + p.Version
	case RPM:
		s := p.Name + "-" + withoutEpoch(p.Version)
		if p.Arch != "" {
			s += "." + p.Arch
		}
		return s
	case Apk:
		return p.Name + "-" + p.Version
	}
	return p.Name + " " + p.Version
}

// add takes a package into the list. Names and versions become lines of a text,
// so that one which could break it is damage.
func (l *List) add(p Package) error {
	for _, s := range []string{p.Name, p.Version, p.Arch} {
		for i := range len(s) {
			if s[i] <= ' ' || s[i] == 0x7f {
				return fmt.Errorf("a name or version %.60q", s)
			}
		}
	}
	if p.Name == "" || p.Version == "" {
		return fmt.Errorf("a package without name or version: %.60q", p.Name+p.Version)
	}
	if len(l.Packages) == maxPackages {
		return fmt.Errorf("more than %d packages", maxPackages)
	}
	l.Packages = append(l.Packages, p)
	return nil
}

// corrupt makes an error one of the database's format.
func (l *List) corrupt(place string, err error) error {
	var fe *tree.FormatError
	if errors.As(err, &fe) {
		return err
	}
	return &tree.FormatError{File: tree.Quote(l.Source), Place: place, Kind: tree.ErrCorrupt, Err: err}
}

// errLong is that of a line that holds a value and has more than maxLine bytes.
var errLong = errors.New("a line is too long")

// maxLine is the longest line of which more than the beginning is looked at, in
// bytes.
const maxLine = 64 << 10

// eachLine calls fn for every line of a text, without its line feed. Of a line
// of more than maxLine bytes it gets the beginning, and cut is true.
func eachLine(ctx context.Context, n *tree.Node, fn func(line string, cut bool) error) error {
	c, err := n.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	r := bufio.NewReaderSize(io.NewSectionReader(c, 0, c.Size()), maxLine)
	for i := 0; ; i++ {
		if i%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b, err := r.ReadSlice('\n')
		cut := err == bufio.ErrBufferFull
		if len(b) > 0 {
			if !cut && b[len(b)-1] == '\n' {
				b = b[:len(b)-1]
			}
			if err := fn(string(b), cut); err != nil {
				return err
			}
		}
		for err == bufio.ErrBufferFull {
			_, err = r.ReadSlice('\n')
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// regular returns the regular file at a path, nil where there is none.
func regular(root *tree.Node, path string) (*tree.Node, error) {
	n, err := root.Lookup(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tree.Quote(path), err)
	}
	if n == nil || n.Type != tree.Regular {
		return nil, nil
	}
	return n, nil
}
