package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	"relive/extfs"
	"relive/overlay"
	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/packed"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/stick"
	"relive/tree"
	"relive/tree/hostfs"
)

// Live is an opened live directory. It is read-only.
type Live struct {
	// Dir is the directory that the names of the layout's files are relative to.
	// It may be one above or below the one that was asked for.
	Dir    string
	Layout Layout
	// Set names the persistence set that is open, "" for the default one.
	Set  string
	Base *Base
	// Overlay is nil where the directory has no persistence for the root.
	Overlay *Overlay
	// Home is nil where there is no home image, or one that cannot be read:
	// HomeProblem is then why.
	Home        *Image
	HomeProblem error
	Binds       []bind
	// Links are directories whose files a boot links into those of the system.
	Links []bind
	// Merged is the base with the overlay over it.
	Merged *tree.Node

	// Generation is what is appended to the names of the files that are opened:
	// "", or ".old" for the former state.
	Generation string
	// overlayOf is what is appended to those of the overlay as well, where a
	// former one is opened over the present base.
	overlayOf string
	// Where says where the overlay is, and Unused what looks like one: see Found.
	Where      Where
	Unused     []Unused
	ToRAM      string // see Found
	root       string // Found.medium
	overlay    overlayAt
	home       overlayAt
	homes      overlayAt // see Found
	Place      Place
	Stick      *Stick // where the files are not the host's
	Partition  *stick.Partition
	Files      Files
	Stamps     map[string]hostdisk.Stamp // of the files, as they were opened
	layerState []byte                    // state of an overlay that is a directory
	Stack      []*Base                   // of a base that is several, the bottom first
	Lowers     []overlay.Layer           // of the stack, the uppermost first
	Closers    tree.Closers
}

// bind is a directory that a boot mounts over one of the system's.
type bind struct {
	Dir  string // in the system
	Root *tree.Node
}

// Path returns the path of a file of the layout, of the state that l is of.
func (l *Live) Path(name string) string {
	generation := l.Generation
	if slices.Contains(l.Files.Overlay, name) {
		generation += l.overlayOf
	}
	return filepath.Join(l.Dir, name+generation)
}

// OnHost reports whether the files are the host's.
func (l *Live) OnHost() bool { return l.Place == nil || l.Place == Place(Host{}) }

// open opens a file of the live directory by its path, to be closed with l.
func (l *Live) open(path string) (tree.Content, error) {
	if err := l.watch(path); err != nil {
		return nil, err
	}
	at := l.Place
	if at == nil {
		at = Host{}
	}
	c, err := at.Open(path)
	if err == nil {
		l.Closers = append(l.Closers, c)
	}
	return c, err
}

// allocated is what the host has set aside for a file, in bytes; of what is not
// on the host, its size.
func (l *Live) allocated(path string, size int64) int64 {
	var st syscall.Stat_t
	if !l.OnHost() || syscall.Stat(path, &st) != nil {
		return size
	}
	return st.Blocks * 512
}

// watch notes the state of a file that is about to be opened.
func (l *Live) watch(path string) error {
	if !l.OnHost() {
		return nil // nothing there is replaced
	}
	s, err := hostdisk.StampOf(path)
	if err != nil {
		return err
	}
	if l.Stamps == nil {
		l.Stamps = map[string]hostdisk.Stamp{}
	}
	l.Stamps[path] = s
	return nil
}

// Unchanged is an error where a file that was opened has been written to or
// replaced since: what was made from it may be of two states.
func (l *Live) Unchanged(ctx context.Context) error {
	if l.layerState != nil {
		now, _, err := l.State(ctx)
		if err != nil {
			return err
		}
		if !bytes.Equal(now, l.layerState) {
			return refusal.New(refusal.Changed, "see that no live system runs from it, and begin again", "%s: changed while it was read",
				l.Overlay.Path)
		}
	}
	for path, then := range l.Stamps {
		now, err := hostdisk.StampOf(path)
		if err != nil {
			return err
		}
		if now != then {
			return refusal.New(refusal.Changed, "see that no live system runs from it, and begin again", "%s: changed while it was read",
				path)
		}
	}
	return nil
}

// Image is an ext image file of a live directory.
type Image struct {
	Path      string
	Size      int64 // bytes
	Allocated int64 // bytes that the host has set aside for it
	FS        *extfs.FS
}

// Base is the image that a live system boots from.
type Base struct {
	Path string
	// layer is what this image alone shows.
	layer *tree.Node
	Size  int64
	// Image is nil where the base is an ext image as it is, not compressed.
	Image packed.Image
	// Root is the tree of the system: that of Image, or of Inner.
	Root *tree.Node
	// Below are the paths of the other images of a base that is several over
	// each other. Root is then what all of them show.
	Below []string
	// Inner is the ext image that holds the system, where Image does not hold
	// its files. It is nil where it does.
	Inner *Inner
}

// Name is the file's name, for people.
func (b *Base) Name() string { return filepath.Base(b.Path) }

// WholeSeconds reports whether the base holds times without their fractions.
func (b *Base) WholeSeconds() bool { return b.Inner == nil && b.Image.Facts().WholeSeconds }

// HoldsXattr reports whether the base has room for an attribute of that name.
func (b *Base) HoldsXattr(name string) bool { return b.Inner != nil || b.Image.HoldsXattr(name) }

// Inner is an ext image inside a base.
type Inner struct {
	// Path is the image's path in the base, "" where it is the base.
	Path    string
	Content tree.Content
	FS      *extfs.FS
}

// Overlay is what a live system has written.
type Overlay struct {
	// Path is the file or directory that holds it.
	Path string
	Form Form
	// Image is the ext image that holds the layer, nil where another thing does.
	Image *Image
	// COW is the COW, nil where it is none.
	COW *COW
	// WorkPath is overlayfs's work directory where Path is a directory.
	WorkPath string
	Upper    *tree.Node // nil where there is no layer yet, or no layer of files
	// Empty: nothing was written but what a boot itself writes.
	Empty bool
	// Union is nil where Upper is.
	Union *overlay.Merged

	// ByConf: it is made of unions that a persistence.conf names, of which there
	// may be none.
	ByConf bool
	// Kept tells of what lies in the overlay's file and is no part of the
	// overlay.
	Kept []string

	UpperDir, WorkDir string            // directories in Image
	AtRoot            bool              // the layer is the root of Image, as aufs has it
	Layers            []string          // directories that hold unions' layers
	layer             overlay.Layer     // of a rootfs of antiX
	Unions            []*overlay.Merged // Union first
	uppers            []*tree.Node      // the layers of unions
	UnionLayers       []UnionLayer      // where unions lie; none of an overlay that is one layer
	marks             []MarkedLayer     // of the layers, once they were read
}

// DependsOnBase reports whether layers refer to files of their base.
func (o *Overlay) DependsOnBase() (bool, error) {
	unions := o.Unions
	if len(unions) == 0 && o.Union != nil {
		unions = []*overlay.Merged{o.Union}
	}
	for _, u := range unions {
		rep, err := u.Report()
		if err != nil {
			return false, fmt.Errorf("%s: %w", o.Name(), err)
		}
		if rep.Redirects+rep.Metacopies+rep.IndexEntries > 0 {
			return true, nil
		}
	}
	return false, nil
}

// COW returns the overlay's COW, nil where it has none.
func (l *Live) COW() *COW {
	if l.Overlay == nil {
		return nil
	}
	return l.Overlay.COW
}

// Name is the name of the overlay's file, for people.
func (o *Overlay) Name() string { return filepath.Base(o.Path) }

// Form is how an overlay keeps what was written.
type Form string

// The forms.
const (
	FormOverlayFS Form = "overlayfs"
	FormAufs      Form = "aufs"
)

// ErrNoLayout is the error of a directory that holds no live system.
var ErrNoLayout = errors.New("no live system found")

// Open opens the live directory.
func Open(ctx context.Context, e *job.Env, dir string, opts ...Option) (*Live, error) {
	found, err := Find(dir, opts...)
	if err != nil {
		return nil, err
	}
	return found.Open(ctx, e, "")
}

// Close closes the files.
func (l *Live) Close() error {
	err := l.Closers.Close()
	l.Closers = nil
	return err
}

// OpenPacked opens a compressed image of the host, to be closed by open.
func OpenPacked(e *job.Env, path string) (r packed.Image, size int64, open tree.Closers, err error) {
	c, err := hostfs.OpenFile(path)
	if err != nil {
		return nil, 0, nil, err
	}
	r, err = packed.Open(c, c.Size(), filepath.Base(path), e.Library, false)
	if err != nil {
		c.Close()
		return nil, 0, nil, err
	}
	return r, c.Size(), tree.Closers{c, r}, nil
}

// OpenImage opens an ext image of the host.
func (l *Live) OpenImage(path string) (*Image, error) {
	c, err := l.open(path)
	if err != nil {
		return nil, err
	}
	res, err := ProbeContent(c, path)
	if err != nil {
		return nil, err
	}
	if res.Kind.Known() && !res.Kind.IsExt() {
		return nil, holdsOther(l.Rel(path), res, readsExt)
	}
	fs, err := extfs.Open(c, c.Size(), filepath.Base(path))
	if err != nil && !res.Kind.Known() {
		// What is in there may be encrypted, or of a kind that is not known.
		return nil, damageHint(err, "e2fsck -fn "+path+" changes nothing, and tells whether a file system of that kind was in it")
	}
	if err != nil {
		return nil, damageHint(err, "e2fsck -f "+path+" tells more and may repair it; make a copy first")
	}
	return &Image{Path: path, Size: c.Size(), Allocated: l.allocated(path, c.Size()), FS: fs}, nil
}

// openBase opens the base, and the ext image inside where it wraps one under
// one of these paths.
func (l *Live) openBase(e *job.Env, path string, inner ...string) error {
	c, err := l.open(path)
	if err != nil {
		return err
	}
	if res, err := ProbeContent(c, path); err != nil {
		return err
	} else if res.Kind.Known() && !packed.Holds(res.Kind) {
		return holdsOther(l.Rel(path), res, readsPacked)
	} else if res.Kind == probe.EROFS && !l.Layout.Traits().BootsEROFS {
		return refusal.WithHint(tree.Unsupported(l.Rel(path), "", "it holds EROFS, which a boot of %s does not mount", l.Layout.Name()),
			say.List+" "+path+" shows what is in it")
	}
	r, err := packed.Open(c, c.Size(), filepath.Base(path), e.Library, len(inner) > 0)
	if err != nil {
		return err
	}
	l.Closers = append(l.Closers, r)
	l.Base = &Base{Path: path, Size: c.Size(), Image: r}
	if l.Base.Root, err = r.Root(); err != nil {
		return err
	}
	if l.Base.Inner, err = l.openInner(inner); err != nil {
		return fmt.Errorf("the file system inside %s: %w", filepath.Base(path), err)
	}
	if l.Base.Inner != nil {
		l.Base.Root, err = l.Base.Inner.FS.Root()
	}
	return err
}

// Content is the size of all files that the base's image holds, each inode
// counted once, in bytes, and the number of inodes. Of a file system image inside
// it is what is in use.
func (b *Base) Content() (n, inodes int64, err error) {
	if b.Inner != nil {
		info := b.Inner.FS.Info()
		return (info.Blocks - info.FreeBlocks) * info.BlockSize, info.Inodes - info.FreeInodes, nil
	}
	return b.Image.Content()
}

// systemDirs are the directories by which dracut knows that an image holds the
// system's files, and no image of a file system: of most systems usr, of those
// that are deployed by ostree alone that (dmsquash-live-root.sh).
var systemDirs = []string{"usr", "ostree"}

// openInner opens the ext image that a wrapping base holds under one of those
// paths instead of a system; nil where it wraps none.
func (l *Live) openInner(paths []string) (*Inner, error) {
	root := l.Base.Root
	for _, name := range systemDirs {
		if n, err := root.Child(name); err != nil || n != nil {
			return nil, err
		}
	}
	for _, path := range paths {
		n, err := root.Lookup(path)
		if err != nil {
			return nil, err
		}
		if n == nil || n.Type != tree.Regular {
			continue
		}
		c, err := n.Open()
		if err != nil {
			return nil, err
		}
		l.Closers = append(l.Closers, c)
		name := l.Base.Name() + ":" + path
		res, err := ProbeContent(c, name)
		if err != nil {
			return nil, err
		}
		if res.Kind.Known() && !res.Kind.IsExt() {
			return nil, holdsOther(name, res, readsExt)
		}
		fs, err := extfs.Open(c, c.Size(), name)
		if err != nil {
			return nil, err
		}
		return &Inner{Path: path, Content: c, FS: fs}, nil
	}
	return nil, nil
}

// Works are the work directories of an overlay's layers in its image.
func (o *Overlay) Works() (works []string) {
	switch {
	case o.WorkDir != "":
		works = append(works, o.WorkDir)
	case len(o.Layers) == 0 && o.Form == FormOverlayFS:
		works = append(works, "work") // antiX's
	}
	for _, source := range o.Layers {
		works = append(works, path.Join(source, UnionWork))
	}
	return works
}

// Tops are the layers of an overlay.
func (o *Overlay) Tops() []*tree.Node {
	if len(o.uppers) > 0 || o.Upper == nil {
		return o.uppers
	}
	return []*tree.Node{o.Upper}
}

// OpenRoot opens an ext image of the host and gives the root of its file system.
// The image is closed by the Closer, which is nil on an error.
func OpenRoot(path string) (*tree.Node, io.Closer, error) {
	l := &Live{}
	img, err := l.OpenImage(path)
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	root, err := img.FS.Root()
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return root, l, nil
}
