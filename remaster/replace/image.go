package replace

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"relive/extfs"
	"relive/extfs/mkfs"
	"relive/overlay"
	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/readback"
	"relive/remaster/written"
	"relive/tree"
)

// Image says how an ext image is made that takes the place of an
// overlay's.
type Image struct {
	Name    string
	Root    *tree.Node
	Options mkfs.Options
	dropped []string // features of the old image that the new one does without
	former  string   // the old image's kind, where the new one is another: "ext2" or "ext3"
	file    *written.File
	whole   bool // all of the old image's space is set aside, and of the new one's
	holes   bool // there was no room for that
}

// Losses tells in words what the new image has otherwise than the old one.
func (f *Image) Losses() (out []string) {
	if len(f.dropped) > 0 {
		out = append(out, fmt.Sprintf("the new %s does without the features %v of the old one", f.Name, f.dropped))
	}
	if f.former == "ext2" {
		out = append(out, fmt.Sprintf("the new %s is ext4 and has a journal; the old one is ext2 and has none", f.Name))
	}
	return out
}

// stampedRootfs is the tree of an antiX rootfs in which nothing is written but
// what a first boot would write: the directories of the layer and the version
// id of the base.
//
// The directories that lead to the version file show in the merged view, so
// they carry the metadata that the base's have.
func stampedRootfs(o *live.Overlay, base *tree.Node, versionText []byte, now tree.Time) (*tree.Node, error) {
	layer, err := stampedLayer(base, versionText, now)
	if err != nil || o.Form == live.FormAufs {
		return layer, err
	}
	layer.Name = "upper"
	work := tree.NewDir("work", 0o755)
	work.Mtime = now
	root := tree.NewDir("", 0o755, layer, work)
	root.Mtime = now
	return root, nil
}

// NewImage makes an image like another with another tree in it.
func NewImage(name string, like *extfs.FS, root *tree.Node, now tree.Time) (*Image, error) {
	f := &Image{Name: name, Root: root, Options: mkfs.Like(like.Info())}
	b := &f.Options
	b.Name, b.Time = f.Name, now
	if b.BlockSize > MaxBuiltBlock {
		// The kernel mounts blocks of at most a page.
		b.BlockSize = MaxBuiltBlock
	}
	if like.Info().Kind != "ext4" {
		// ext2 and ext3 images date from older tools; init tries ext4 first.
		f.former = like.Info().Kind
		b.Features, b.JournalBlocks = mkfs.DefaultFeatures(), 0
		b.InodeSize = max(b.InodeSize, 256)
		return f, nil
	}
	b.Features, f.dropped = b.Features.Buildable()
	return f, nil
}

// MaxBuiltBlock is the largest block size of an image that is made, in bytes.
const MaxBuiltBlock = 4096

// stampedLayer makes a layer that holds the version file alone.
func stampedLayer(base *tree.Node, versionText []byte, now tree.Time) (*tree.Node, error) {
	like := func(path string, children ...*tree.Node) (*tree.Node, error) {
		n, err := base.Lookup(path)
		if err != nil {
			return nil, err
		}
		out := tree.NewDir("", 0o755, children...)
		out.Mtime = now
		if n != nil && n.Type == tree.Directory {
			out.Meta, out.Xattrs = n.Meta, n.Xattrs
			out.Mtime = n.Mtime.Whole() // as the base will have it
		}
		return out, nil
	}
	stamp := tree.NewFile("rootfs.ver", 0o644, versionText)
	stamp.Mtime = now
	at := stamp
	for _, dir := range []struct{ path, name string }{{live.VersionDir, "version"}, {"etc/live", "live"}, {"etc", "etc"}, {"", ""}} {
		n, err := like(dir.path, at)
		if err != nil {
			return nil, err
		}
		n.Name = dir.name
		at = n
	}
	return at, nil
}

// restamped returns the tree of a rootfs that goes on above a base that holds its
// changes already: all as it was, with another version file. Marks that name
// inodes of the old base are left out.
func restamped(o *live.Overlay, versionText []byte, now tree.Time) (*tree.Node, error) {
	root, err := o.Image.FS.Root()
	if err != nil {
		return nil, err
	}
	stamp := tree.NewFile("", 0o644, versionText)
	stamp.Mtime = now
	path := live.RootVIDFile
	if o.Form == live.FormOverlayFS {
		path = "upper/" + path
	}
	var e tree.Edits
	e.Put(path, stamp)
	e.Remove("work/work")
	e.Remove("work/index")
	if root, err = e.Apply(root); err != nil {
		return nil, err
	}
	return overlay.WithoutOrigins(root), nil
}

// Build writes the image to path, which must not exist, with the mode and owner
// of the image that it takes the place of. Where all of that one's space was set
// aside, that of the new one is, as far as there is room: what copies files by the
// room that they take would find none (live-boot's toram, by du), and a live system
// that fills it up a full disk.
func (f *Image) Build(ctx context.Context, path, former string) (err error) {
	if f.whole, err = hostdisk.IsWhole(former); err != nil {
		return err
	}
	out, err := hostdisk.CreateLike(path, former)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	return f.Write(ctx, out)
}

// Write builds the image in a new file and makes it durable.
func (f *Image) Write(ctx context.Context, out *os.File) error {
	f.file = written.New(out)
	if _, err := mkfs.Build(ctx, f.file, f.Root, f.Options); err != nil {
		return err
	}
	if f.whole {
		if err := f.setAside(out); err != nil {
			return err
		}
	}
	return written.Settle(ctx, out)
}

// spare is what is left free of a disk on which space is set aside, in bytes.
const spare = 16 << 20

// setAside has the host set the image's space aside, where there is room.
func (f *Image) setAside(out *os.File) error {
	st, err := out.Stat()
	if err != nil {
		return err
	}
	free, err := hostdisk.FreeSpace(filepath.Dir(out.Name()))
	if err != nil {
		return err
	}
	if f.holes = free < st.Size()-hostdisk.Allocated(st)+spare; f.holes {
		return nil
	}
	return hostdisk.Preallocate(out, st.Size())
}

// Holes tells a person that the space of the image was not set aside, as that of the
// former one was; "" where it was.
func (f *Image) Holes() string {
	if !f.holes {
		return ""
	}
	return f.tellHoles()
}

func (f *Image) tellHoles() string {
	return fmt.Sprintf("the new %s takes its space as it fills up: there is no room to set all of it aside, as the former one has it",
		f.Name)
}

// WillHaveHoles is Holes for an image that is to take the place of another, beside
// which nothing else is written.
func (f *Image) WillHaveHoles(former *live.Image) (string, error) {
	if former.Allocated < former.Size {
		return "", nil
	}
	free, err := hostdisk.FreeSpace(filepath.Dir(former.Path))
	if err != nil || free >= f.Options.Size+spare {
		return "", err
	}
	return f.tellHoles(), nil
}

// Check reads back the image that write has made, and compares it with what was
// written and with what it was made from.
func (f *Image) Check(ctx context.Context, path string) error {
	if err := readback.SameBytes(ctx, f.file, path); err != nil {
		return err
	}
	return f.Same(ctx, path)
}

// Same compares an image with what it was made from.
func (f *Image) Same(ctx context.Context, path string) error {
	root, img, err := live.OpenRoot(path)
	if err != nil {
		return fmt.Errorf("%w: %w", readback.Err, err)
	}
	defer img.Close()
	var e tree.Edits
	e.Remove("lost+found")
	if root, err = e.Apply(root); err != nil {
		return fmt.Errorf("%w: %w", readback.Err, err)
	}
	want, err := e.Apply(f.Root)
	if err != nil {
		return err
	}
	return readback.Equal(ctx, path, want, root, tree.CompareOptions{Links: true, Flags: extfs.KeptFlags})
}
