package tree

import (
	"errors"
	"io"
	"io/fs"
	"time"
	"unicode/utf8"
)

// FS shows a tree as an fs.FS. Names that are not valid UTF-8 cannot stand in
// an fs.FS and are left out of its listings.
func FS(root *Node) fs.FS { return treeFS{root} }

type treeFS struct{ root *Node }

// Open implements fs.FS.
func (f treeFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	n := f.root
	if name != "." {
		var err error
		if n, err = f.root.Lookup(name); err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
	if n == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	base := n.Name
	if name == "." {
		base = "."
	}
	of := openFile{info: fileInfo{n, base}}
	switch n.Type {
	case Directory:
		return &openDir{openFile: of}, nil
	case Regular:
		c, err := n.Open()
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return &openRegular{openFile: of, c: c, SectionReader: io.NewSectionReader(c, 0, n.Size)}, nil
	}
	return &of, nil
}

type fileInfo struct {
	n    *Node
	name string
}

func (i fileInfo) Name() string               { return i.name }
func (i fileInfo) Size() int64                { return i.n.Size }
func (i fileInfo) ModTime() time.Time         { return i.n.Mtime.Time() }
func (i fileInfo) IsDir() bool                { return i.n.Type == Directory }
func (i fileInfo) Sys() any                   { return i.n }
func (i fileInfo) Info() (fs.FileInfo, error) { return i, nil }
func (i fileInfo) Type() fs.FileMode          { return i.Mode().Type() }
func (i fileInfo) String() string             { return fs.FormatDirEntry(i) }

func (i fileInfo) Mode() fs.FileMode {
	m := fs.FileMode(i.n.Perm & 0o777)
	for bit, f := range map[uint16]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if i.n.Perm&bit != 0 {
			m |= f
		}
	}
	switch i.n.Type {
	case Directory:
		m |= fs.ModeDir
	case Symlink:
		m |= fs.ModeSymlink
	case BlockDevice:
		m |= fs.ModeDevice
	case CharDevice:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case FIFO:
		m |= fs.ModeNamedPipe
	case Socket:
		m |= fs.ModeSocket
	}
	return m
}

// openFile is an opened node without content.
type openFile struct{ info fileInfo }

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }
func (f *openFile) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: f.info.name, Err: errors.New("is a " + f.info.n.Type.String())}
}

type openRegular struct {
	openFile
	c Content
	*io.SectionReader
}

func (f *openRegular) Read(p []byte) (int, error) { return f.SectionReader.Read(p) }
func (f *openRegular) Close() error               { return f.c.Close() }

type openDir struct {
	openFile
	rest []fs.DirEntry
	read bool
}

// ReadDir implements fs.ReadDirFile.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if !d.read {
		kids, err := d.info.n.Children()
		if err != nil {
			return nil, &fs.PathError{Op: "readdir", Path: d.info.name, Err: err}
		}
		for _, k := range kids {
			if utf8.ValidString(k.Name) {
				d.rest = append(d.rest, fileInfo{k, k.Name})
			}
		}
		d.read = true
	}
	if n <= 0 {
		out := d.rest
		d.rest = nil
		return out, nil
	}
	if len(d.rest) == 0 {
		return nil, io.EOF
	}
	out := d.rest[:min(n, len(d.rest))]
	d.rest = d.rest[len(out):]
	return out, nil
}
