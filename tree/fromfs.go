package tree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sync"
)

// FromFS shows an fs.FS as a tree, the other way round from [FS]: FromFS(FS(t))
// is t. Directories are listed and files opened when they are asked for.
//
// An fs.FS tells neither owners nor extended attributes nor hard links: all
// belongs to root, and each name is a file of its own. A time that it does not
// know, as in an embed.FS, is 1970. Symlinks need an fs.ReadLinkFS. Devices,
// whose numbers it does not tell, are an ErrUnsupported. For a directory of the
// host there is hostfs.Open, which keeps all of that.
func FromFS(fsys fs.FS) (*Node, error) {
	if t, ok := fsys.(treeFS); ok {
		return t.root, nil
	}
	info, err := fs.Stat(fsys, ".")
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: ".", Err: errors.New("not a directory")}
	}
	return fsNode(fsys, ".", "", info)
}

// fsNode is the node of a path.
func fsNode(fsys fs.FS, at, name string, info fs.FileInfo) (*Node, error) {
	mode := info.Mode()
	n := &Node{Name: name, Nlink: 1, Meta: Meta{Perm: uint16(mode.Perm())}}
	for bit, f := range map[uint16]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&f != 0 {
			n.Perm |= bit
		}
	}
	if t := info.ModTime(); !t.IsZero() {
		n.Mtime = TimeOf(t)
	}
	switch mode.Type() {
	case 0:
		n.Type, n.Size = Regular, info.Size()
		n.Data = fsData{fsys: fsys, at: at, size: n.Size}
	case fs.ModeDir:
		n.Type, n.Dir = Directory, fsDir{fsys: fsys, at: at}
	case fs.ModeSymlink:
		target, err := fs.ReadLink(fsys, at)
		if err != nil {
			return nil, err
		}
		n.Type, n.Target, n.Size, n.Perm = Symlink, target, int64(len(target)), 0o777
	case fs.ModeNamedPipe:
		n.Type = FIFO
	case fs.ModeSocket:
		n.Type = Socket
	default:
		return nil, Unsupported(at, "", "of this kind of file (%s) an fs.FS does not tell enough", mode.Type())
	}
	return n, nil
}

// fsDir is a directory of an fs.FS.
type fsDir struct {
	fsys fs.FS
	at   string
}

// Children implements Dir.
func (d fsDir) Children() ([]*Node, error) {
	entries, err := fs.ReadDir(d.fsys, d.at)
	if err != nil {
		return nil, err
	}
	nodes := make([]*Node, 0, len(entries))
	var bad []BadEntry
	for _, e := range entries {
		name := e.Name()
		n, err := d.child(e)
		if err != nil {
			bad = append(bad, BadEntry{Name: name, Err: err})
			continue
		}
		nodes = append(nodes, n)
	}
	Sort(nodes)
	for i := 1; i < len(nodes); i++ {
		if nodes[i].Name == nodes[i-1].Name {
			return nil, fmt.Errorf("%s: %q is listed twice: %w", d.at, nodes[i].Name, ErrCorrupt)
		}
	}
	return Partial(nodes, bad)
}

func (d fsDir) child(e fs.DirEntry) (*Node, error) {
	if err := CheckName(e.Name()); err != nil {
		return nil, err
	}
	info, err := e.Info()
	if err != nil {
		return nil, err
	}
	return fsNode(d.fsys, path.Join(d.at, e.Name()), e.Name(), info)
}

// fsData is the content of a file of an fs.FS.
type fsData struct {
	fsys fs.FS
	at   string
	size int64
}

// Open implements Data.
func (d fsData) Open() (Content, error) {
	f, err := d.fsys.Open(d.at)
	if err != nil {
		return nil, err
	}
	return &fsContent{data: d, f: f}, nil
}

// fsContent reads a file at offsets, by ReadAt or Seek where the file has them;
// else it reads on, and opens the file again to go back.
type fsContent struct {
	data fsData

	mu   sync.Mutex
	f    fs.File
	next int64 // offset of the file's next Read
}

func (c *fsContent) Size() int64 { return c.data.size }

// NextData implements Content; an fs.FS tells of no holes.
func (c *fsContent) NextData(off int64) (int64, int64, error) { return WholeData(off, c.data.size) }

func (c *fsContent) ReadAt(p []byte, off int64) (int, error) {
	if off >= c.data.size {
		return 0, io.EOF
	}
	if r, ok := c.f.(io.ReaderAt); ok {
		return r.ReadAt(p, off)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.seek(off); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(c.f, p)
	c.next += int64(n)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

// seek makes off the offset of the next Read.
func (c *fsContent) seek(off int64) error {
	if off == c.next {
		return nil
	}
	if s, ok := c.f.(io.Seeker); ok {
		at, err := s.Seek(off, io.SeekStart)
		if err == nil {
			c.next = at
		}
		return err
	}
	if off < c.next {
		f, err := c.data.fsys.Open(c.data.at)
		if err != nil {
			return err
		}
		c.f.Close()
		c.f, c.next = f, 0
	}
	n, err := io.CopyN(io.Discard, c.f, off-c.next)
	c.next += n
	return err
}

func (c *fsContent) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.f.Close()
}
