package tree_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"relive/tree"
)

var madeAt = time.Unix(1_700_000_000, 5)

func sampleFS() fstest.MapFS {
	return fstest.MapFS{
		"a":         {Data: []byte("content"), Mode: 0o644, ModTime: madeAt},
		"bin":       {Mode: fs.ModeDir | 0o755 | fs.ModeSticky, ModTime: madeAt},
		"bin/suid":  {Data: []byte("#!"), Mode: 0o755 | fs.ModeSetuid, ModTime: madeAt},
		"bin.d/x":   {Data: bytes.Repeat([]byte("0123456789"), 1000), Mode: 0o600},
		"link":      {Data: []byte("bin/suid"), Mode: fs.ModeSymlink | 0o777, ModTime: madeAt},
		"pipe":      {Mode: fs.ModeNamedPipe | 0o600, ModTime: madeAt},
		"bin/empty": {Mode: 0o644, ModTime: madeAt},
	}
}

func TestFromFS(t *testing.T) {
	root, err := tree.FromFS(sampleFS())
	if err != nil {
		t.Fatal(err)
	}
	stamp := tree.TimeOf(madeAt)
	at := func(n *tree.Node, perm uint16, when tree.Time) *tree.Node {
		n.Perm, n.Mtime = perm, when
		return n
	}
	want := tree.NewDir("", 0o555,
		at(tree.NewFile("a", 0, []byte("content")), 0o644, stamp),
		at(tree.NewDir("bin", 0,
			at(tree.NewFile("empty", 0, nil), 0o644, stamp),
			at(tree.NewFile("suid", 0, []byte("#!")), 0o4755, stamp)), 0o1755, stamp),
		at(tree.NewDir("bin.d", 0, at(tree.NewFile("x", 0, bytes.Repeat([]byte("0123456789"), 1000)), 0o600, tree.Time{})), 0o555,
			tree.Time{}),
		at(tree.NewSymlink("link", "bin/suid"), 0o777, stamp),
		at(&tree.Node{Name: "pipe", Nlink: 1, Meta: tree.Meta{Type: tree.FIFO}}, 0o600, stamp))
	differences := 0
	err = tree.Compare(t.Context(), want, root, tree.CompareOptions{}, func(c tree.Change) error {
		differences++
		t.Errorf("%s differs in %v: %+v", c.Path, c.Diff, c.B)
		return nil
	})
	if err != nil || differences > 0 {
		t.Fatal(err)
	}
	back, err := tree.FromFS(tree.FS(root))
	if err != nil || back != root {
		t.Errorf("FromFS(FS(t)) is %p and not t, %v", back, err)
	}
}

// plainFile hides what a file can beside Read.
type plainFile struct{ fs.File }

// seekFile has Seek but no ReadAt.
type seekFile struct {
	fs.File
	io.Seeker
}

type wrappedFS struct {
	fs.FS
	wrap func(fs.File) fs.File
}

func (w wrappedFS) Open(name string) (fs.File, error) {
	f, err := w.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return f, err
	}
	return w.wrap(f), nil
}

func (w wrappedFS) ReadLink(name string) (string, error)       { return fs.ReadLink(w.FS, name) }
func (w wrappedFS) Lstat(name string) (fs.FileInfo, error)     { return fs.Lstat(w.FS, name) }
func (w wrappedFS) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(w.FS, name) }

// TestFromFSOffsets: a file is read at any offset, whatever its file can do.
func TestFromFSOffsets(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 1000)
	for name, wrap := range map[string]func(fs.File) fs.File{
		"ReadAt": func(f fs.File) fs.File { return f },
		"Seek":   func(f fs.File) fs.File { return seekFile{f, f.(io.Seeker)} },
		"Read":   func(f fs.File) fs.File { return plainFile{f} },
	} {
		t.Run(name, func(t *testing.T) {
			root, err := tree.FromFS(wrappedFS{sampleFS(), wrap})
			if err != nil {
				t.Fatal(err)
			}
			n, err := root.Lookup("bin.d/x")
			if err != nil || n == nil {
				t.Fatal(n, err)
			}
			c, err := n.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for _, off := range []int64{0, 9, 9000, 17, 17, 9999} {
				p := make([]byte, 100)
				got, err := c.ReadAt(p, off)
				want := content[off:min(off+100, 10000)]
				if !bytes.Equal(p[:got], want) || (err == io.EOF) != (got < len(p)) || err != nil && err != io.EOF {
					t.Errorf("at %d: %q, %v", off, p[:got], err)
				}
			}
			if _, err := c.ReadAt(make([]byte, 1), 10000); err != io.EOF {
				t.Errorf("at the end: %v", err)
			}
		})
	}
}

// noLinks is an fs.FS that cannot read links.
type noLinks struct{ fs.FS }

// TestFromFSRefuses: what an fs.FS does not tell enough of is named, and the
// rest of the directory is there.
func TestFromFSRefuses(t *testing.T) {
	device := sampleFS()
	device["tty"] = &fstest.MapFile{Mode: fs.ModeDevice | fs.ModeCharDevice | 0o600}
	root, err := tree.FromFS(device)
	if err != nil {
		t.Fatal(err)
	}
	kids, bad, err := root.Readable()
	if err != nil || len(kids) != 5 || len(bad) != 1 || bad[0].Name != "tty" || !errors.Is(bad[0].Err, tree.ErrUnsupported) {
		t.Errorf("%d entries, bad %v, %v", len(kids), bad, err)
	}
	if root, err = tree.FromFS(noLinks{sampleFS()}); err != nil {
		t.Fatal(err)
	}
	if _, bad, err := root.Readable(); err != nil || len(bad) != 1 || bad[0].Name != "link" {
		t.Errorf("without ReadLink: bad %v, %v", bad, err)
	}
	if _, err := tree.FromFS(fstest.MapFS{".": {Mode: 0o644}}); err == nil {
		t.Error("a root that is a file is taken")
	}
}
