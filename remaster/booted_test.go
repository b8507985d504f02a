package remaster_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"relive/codec"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/tree"
	"relive/tree/systest"
)

// booted is a medium and how its initrd mounts it.
type booted struct {
	t        testing.TB
	dir      string
	live     string   // the live directory, relative to the medium
	images   []string // the base, or what it is stacked of, uppermost first
	inner    string   // of an ext image in the base that holds the system
	over     string   // the overlay: an image, or the directory above upper and work
	isImage  bool
	up, work string                       // in over
	top      string                       // where the files are that users change
	options  []string                     // under which it is mounted to be looked at
	known    map[string]map[string]string // what was looked at, by state
	ids      bool                         // as antiX, which passes over an overlay of another version id
	need     string                       // without which the overlay is not used
	erofs    bool                         // the images are of EROFS
}

// baseKind is what the kernel mounts the images as.
func (b *booted) baseKind() string {
	if b.erofs {
		return "erofs"
	}
	return "squashfs"
}

// at returns the same medium in another directory.
func (b *booted) at(dir string) *booted {
	c := *b
	c.dir = dir
	return &c
}

func (b *booted) livePath() string { return filepath.Join(b.dir, b.live) }

// mounted mounts what lies below the overlay, and its file system, and gives a
// function that lays it over with some options. All goes with drop.
func (b *booted) mounted() (lay func(options string) (string, func(), error), drop func()) {
	b.t.Helper()
	var drops []func()
	drop = func() {
		for i := len(drops) - 1; i >= 0; i-- {
			drops[i]()
		}
	}
	var lowers []string
	for _, name := range b.images {
		if !livetest.Has(filepath.Join(b.dir, name)) {
			continue
		}
		at, d := systest.Mount(b.t, b.baseKind(), "loop,ro", filepath.Join(b.dir, name))
		drops = append(drops, d)
		if b.inner != "" && livetest.Has(filepath.Join(at, b.inner)) {
			at, d = systest.Mount(b.t, "ext4", "loop,ro,noload", filepath.Join(at, b.inner))
			drops = append(drops, d)
		}
		lowers = append(lowers, at)
	}
	root := filepath.Join(b.dir, b.over)
	used := livetest.Has(root) && (b.need == "" || livetest.Has(filepath.Join(b.dir, b.need)))
	if used && b.ids {
		l, err := live.Open(b.t.Context(), livetest.Env(b.t, codec.Auto), b.dir)
		systest.Must(b.t, err)
		vids, err := l.VIDs()
		systest.Must(b.t, errors.Join(err, l.Close()))
		used = vids.State.Used()
	}
	if used && b.isImage {
		var d func()
		root, d = systest.Mount(b.t, "ext4", "loop", root)
		drops = append(drops, d)
	}
	upper, work := filepath.Join(root, b.up), filepath.Join(root, b.work)
	if used && !b.isImage {
		used = livetest.Has(upper) && livetest.Has(work)
	}
	return func(options string) (string, func(), error) {
		if !used {
			if len(lowers) == 1 {
				return lowers[0], func() {}, nil
			}
			at, d := systest.Mount(b.t, "overlay", "lowerdir="+strings.Join(lowers, ":"), "overlay")
			return at, d, nil
		}
		o := "lowerdir=" + strings.Join(lowers, ":") + ",upperdir=" + upper + ",workdir=" + work
		if options != "" {
			o += "," + options
		}
		at := systest.TempDir(b.t)
		if err := unix.Mount("overlay", at, "overlay", 0, o); err != nil {
			return "", nil, fmt.Errorf("mount: %w", err)
		}
		return at, systest.Mounted(b.t, at), nil
	}, drop
}

// use runs fn in the booted system.
func (b *booted) use(options string, fn func(mnt string)) {
	b.t.Helper()
	lay, drop := b.mounted()
	defer drop()
	mnt, done, err := lay(options)
	systest.Must(b.t, err)
	fn(mnt)
	done()
}

// shows is what the kernel shows under each of the options, as text; a file
// that cannot be read shows its error. The medium is not touched.
func (b *booted) shows() map[string]string {
	b.t.Helper()
	state := b.state()
	if b.known[state] == nil {
		b.known[state] = b.look()
	}
	return b.known[state]
}

// state is a sum of all that a boot looks at.
func (b *booted) state() string {
	b.t.Helper()
	h := sha256.New()
	fmt.Fprintln(h, b.options)
	for _, name := range append(slices.Clone(b.images), b.over, b.over+"/"+b.up, b.over+"/"+b.work) {
		at := filepath.Join(b.dir, name)
		st, err := os.Stat(at)
		fmt.Fprintln(h, name, err == nil)
		switch {
		case err != nil:
		case st.Mode().IsRegular():
			sum, err := systest.Sum(at)
			systest.Must(b.t, err)
			fmt.Fprintln(h, sum)
		case name != b.over:
			livetest.WriteSums(b.t, h, at)
		}
	}
	return string(h.Sum(nil))
}

func (b *booted) look() map[string]string {
	b.t.Helper()
	out := map[string]string{}
	left := b.options
	for range 10 {
		if left = b.lookAt(left, out); len(left) == 0 {
			return out
		}
	}
	b.t.Fatalf("mounts stay busy: %q", left)
	return nil
}

// lookAt looks at a copy under some options and gives those for which the kernel
// still has the layer in use by the mount before, as it has while somebody else
// holds a copy of all mounts.
func (b *booted) lookAt(options []string, out map[string]string) (busy []string) {
	b.t.Helper()
	c := b.at(systest.MemDir(b.t))
	defer os.RemoveAll(c.dir)
	systest.Run(b.t, "cp", "-a", "--sparse=always", b.dir+"/.", c.dir)
	lay, drop := c.mounted()
	defer drop()
	for _, o := range options {
		mnt, done, err := lay(o)
		switch {
		case errors.Is(err, unix.EBUSY):
			busy = append(busy, o)
		case err != nil:
			out[o] = err.Error()
		default:
			out[o] = hostText(b.t, mnt)
			done()
		}
	}
	return busy
}

// hostText tells what a directory shows to who reads all of it.
func hostText(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	systest.Must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if name == "." && err == nil || name == "lost+found" {
			return nil
		}
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		line := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid)
		switch {
		case err != nil:
		case d.Type().IsRegular():
			var content []byte
			content, err = os.ReadFile(path)
			line += fmt.Sprintf(" %d %.8x", st.Mtim.Sec, sha256.Sum256(content))
		case d.Type()&fs.ModeSymlink != 0:
			var target string
			target, err = os.Readlink(path)
			line += " " + target
		}
		if err != nil {
			var number syscall.Errno
			errors.As(err, &number)
			line = "cannot be read: " + number.Error()
		}
		if !own[name] {
			fmt.Fprintf(&b, "%q %s\n", name, line)
		}
		return nil
	}))
	return b.String()
}

// own are files that tell of a base, and of which no other speaks.
var own = map[string]bool{"etc/live/version/linuxfs.ver": true, "etc/live/version/rootfs.ver": true, "etc/live/version": true,
	"etc/live": true}

// treeText is hostText of a tree as relive reads it.
func treeText(t testing.TB, root *tree.Node) string {
	t.Helper()
	var b bytes.Buffer
	systest.Must(t, tree.Walk(t.Context(), root, func(name string, n *tree.Node) error {
		if name == "" || name == "lost+found" || own[name] {
			return nil
		}
		fmt.Fprintf(&b, "%q %o %d:%d", name, n.Type.ModeBits()|uint32(n.Perm), n.UID, n.GID)
		switch n.Type {
		case tree.Regular:
			content, err := tree.ReadAll(n, 64<<20)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d %.8x", n.Mtime.Sec, sha256.Sum256(content))
		case tree.Symlink:
			fmt.Fprintf(&b, " %s", n.Target)
		}
		fmt.Fprintln(&b)
		return nil
	}))
	return b.String()
}

// relives is what relive shows of the live directory, as a boot uses it.
func (b *booted) relives() string {
	b.t.Helper()
	l, err := live.Open(b.t.Context(), livetest.Env(b.t, codec.Auto), b.livePath())
	systest.Must(b.t, err)
	defer l.Close()
	vids, err := l.VIDs()
	systest.Must(b.t, err)
	root := l.Merged
	if !vids.State.Used() {
		root = l.Base.Root
	}
	return treeText(b.t, root)
}
