package remaster_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"relive/remaster/compact"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/rebase"
	"relive/remaster/refusal"
	"relive/remaster/rollback"
	"relive/remaster/swap"
	"relive/remaster/update"
	"relive/squash/codec"
	"relive/tree"
	"relive/tree/systest"
)

// overlayOptions are those under which the kernel follows marks of the upper
// layer in ways of its own, alone and together.
var overlayOptions = []string{
	"", "redirect_dir=on", "index=on", "metacopy=on", "xino=on", "redirect_dir=on,index=on,metacopy=on,xino=on",
}

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
}

// at gives the same medium in another directory.
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
		if !has(filepath.Join(b.dir, name)) {
			continue
		}
		at, d := systest.Mount(b.t, "squashfs", "loop,ro", filepath.Join(b.dir, name))
		drops = append(drops, d)
		if b.inner != "" && has(filepath.Join(at, b.inner)) {
			at, d = systest.Mount(b.t, "ext4", "loop,ro,noload", filepath.Join(at, b.inner))
			drops = append(drops, d)
		}
		lowers = append(lowers, at)
	}
	root := filepath.Join(b.dir, b.over)
	used := has(root) && (b.need == "" || has(filepath.Join(b.dir, b.need)))
	if used && b.ids {
		l, err := live.Open(b.t.Context(), environment(b.t, codec.Auto), b.dir)
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
		used = has(upper) && has(work)
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
			writeSums(b.t, h, at)
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
var own = map[string]bool{"etc/live/version/linuxfs.ver": true, "etc/live/version/rootfs.ver": true, "etc/live/version": true, "etc/live": true}

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
	l, err := live.Open(b.t.Context(), environment(b.t, codec.Auto), b.livePath())
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

// watching is the host's file system with somebody who looks before each change
// what a power cut would leave.
type watching struct {
	swap.OS
	look func()
}

func (w *watching) WriteFile(path string, data []byte) error {
	w.look()
	return w.OS.WriteFile(path, data)
}

func (w *watching) CopyFile(from, to string) error {
	w.look()
	return w.OS.CopyFile(from, to)
}

func (w *watching) Rename(from, to string) error {
	w.look()
	return w.OS.Rename(from, to)
}

func (w *watching) Exchange(a, b string) error {
	w.look()
	return w.OS.Exchange(a, b)
}

func (w *watching) Link(from, to string) error {
	w.look()
	return w.OS.Link(from, to)
}

func (w *watching) Remove(path string) error {
	w.look()
	return w.OS.Remove(path)
}

// named tells which file has which name, but for those that are being made.
func (b *booted) named() string {
	var out []string
	systest.Must(b.t, filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || strings.Contains(d.Name(), ".relive-") || strings.HasPrefix(d.Name(), ".relive") {
			return err
		}
		var st unix.Stat_t
		systest.Must(b.t, unix.Lstat(path, &st))
		name, _ := filepath.Rel(b.dir, path)
		out = append(out, fmt.Sprint(name, " ", st.Ino))
		if d.IsDir() && (filepath.Base(path) == filepath.Base(b.up) || filepath.Base(path) == filepath.Base(b.work)) {
			return fs.SkipDir
		}
		return nil
	}))
	return strings.Join(out, "\n")
}

// cut runs a verb and mounts, under all options, what every power cut would
// leave. It must show one of the allowed texts; cut counts which.
func (b *booted) cut(when string, allowed map[string]string, run func(e *job.Env, live string) error) map[string]int {
	b.t.Helper()
	met := map[string]int{}
	seen := map[string]bool{}
	look := func() {
		state := b.named()
		if seen[state] || b.t.Failed() {
			return
		}
		seen[state] = true
		for options, text := range b.shows() {
			what, ok := allowed[text]
			if !ok {
				b.t.Errorf("%s, mounted with %q, shows neither %v; as against the first:\n%s\nthere is\n%s", when, options,
					slices.Sorted(maps.Values(allowed)), firstDifferences(allowed, text), state)
			}
			met[what]++
		}
	}
	e := environment(b.t, codec.Auto)
	e.Disk = &watching{look: look}
	if err := run(e, b.livePath()); err != nil {
		b.t.Fatalf("%s: %v (hint: %s)", when, err, refusal.Hint(err))
	}
	look()
	if len(seen) < 2 {
		b.t.Errorf("%s: nothing was looked at", when)
	}
	return met
}

// firstDifferences are the lines of a text that no allowed one has.
func firstDifferences(allowed map[string]string, text string) string {
	known := map[string]bool{}
	for a := range allowed {
		for line := range strings.Lines(a) {
			known[line] = true
		}
	}
	var out []string
	for line := range strings.Lines(text) {
		if !known[line] {
			out = append(out, line)
		}
	}
	return strings.Join(out[:min(len(out), 8)], "")
}

// originFiles fills a system in which inode numbers move when a file is added.
func originFiles(t testing.TB, dir, top string) {
	t.Helper()
	systest.Must(t, os.Chmod(dir, 0o755))
	write(t, dir+"/usr/bin/sh", text(1, 9_000), 0o755)
	write(t, dir+"/etc/hostname", []byte("live\n"), 0o644)
	for i := 11; i <= 40; i++ {
		write(t, fmt.Sprintf("%s/%s/b%d", dir, top, i), fmt.Appendf(nil, "base b%d\n", i), 0o644)
	}
	for i := range 3 {
		write(t, fmt.Sprintf("%s/%s/h%d-0", dir, top, i), fmt.Appendf(nil, "base linked %d\n", i), 0o640)
		for j := 1; j < 3; j++ {
			systest.Must(t, os.Link(fmt.Sprintf("%s/%s/h%d-0", dir, top, i), fmt.Sprintf("%s/%s/h%d-%d", dir, top, i, j)))
		}
	}
	systest.Must(t, os.Symlink("b11", dir+"/"+top+"/link"))
	write(t, dir+"/"+top+"/dir/in", []byte("base in\n"), 0o644)
	write(t, dir+"/"+top+"/dir/on", []byte("base on\n"), 0o644)
}

// originUse is what a user does to it. With links, names of linked files are
// copied up, each for itself or all by an index; with moves, a directory moves.
func originUse(t testing.TB, top string, links, moves bool) {
	t.Helper()
	write(t, top+"/a", []byte("mine a\n"), 0o644)
	for _, i := range []int{15, 20, 25, 30} {
		write(t, fmt.Sprintf("%s/b%d", top, i), fmt.Appendf(nil, "mine b%d\n", i), 0o644)
	}
	systest.Must(t, os.Chmod(top+"/b16", 0o600))
	systest.Must(t, os.Chown(top+"/b17", 5, 6))
	systest.Must(t, os.Rename(top+"/b21", top+"/z21"))
	systest.Must(t, os.Chmod(top+"/z21", 0o604))
	systest.Must(t, os.Rename(top+"/b27", top+"/b27.orig"))
	write(t, top+"/b27", []byte("mine again\n"), 0o644)
	systest.Must(t, os.Remove(top+"/b24"))
	systest.Must(t, os.Remove(top+"/b26"))
	write(t, top+"/b26", []byte("another\n"), 0o644)
	systest.Must(t, os.Lchown(top+"/link", 7, 8))
	write(t, top+"/dir/in", []byte("mine in\n"), 0o644)
	write(t, top+"/new/one", []byte("mine\n"), 0o644)
	if links {
		write(t, top+"/h0-1", []byte("mine of three\n"), 0o644)
		write(t, top+"/h1-0", []byte("mine of two, first\n"), 0o644)
		write(t, top+"/h1-2", []byte("mine of two, second\n"), 0o644)
		for i := range 3 {
			systest.Must(t, os.Chmod(fmt.Sprintf("%s/h2-%d", top, i), os.FileMode(0o600+i)))
		}
	}
	if moves {
		systest.Must(t, os.Rename(top+"/dir", top+"/moved"))
	}
}

// bootedMedia makes the media of each layout.
func bootedMedia() map[string]func(t testing.TB, foreign bool) *booted {
	squashIt := func(t testing.TB, b *booted, from, name string) {
		systest.Must(t, os.MkdirAll(filepath.Dir(filepath.Join(b.dir, name)), 0o755))
		systest.Run(t, "mksquashfs", from, filepath.Join(b.dir, name), "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	}
	image := func(t testing.TB, path string, files map[string]string, dirs ...string) {
		d := systest.TempDir(t)
		for _, name := range dirs {
			systest.Must(t, os.MkdirAll(filepath.Join(d, name), 0o755))
		}
		for name, content := range files {
			write(t, filepath.Join(d, name), []byte(content), 0o644)
		}
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d", d, path, "8M")
	}
	// system makes the files; those of a foreign base have other numbers.
	system := func(t testing.TB, top string, foreign bool) string {
		d := systest.TempDir(t)
		originFiles(t, d, top)
		if foreign {
			for i := range 3 {
				write(t, fmt.Sprintf("%s/%s/aa%d", d, top, i), []byte("foreign\n"), 0o644)
			}
			write(t, d+"/"+top+"/b12", []byte("foreign b12\n"), 0o644)
		}
		return d
	}
	dirs := func(t testing.TB, b *booted) {
		for _, name := range []string{b.up, b.work} {
			systest.Must(t, os.MkdirAll(filepath.Join(b.dir, b.over, name), 0o755))
		}
	}
	antix := func(top string) func(t testing.TB, foreign bool) *booted {
		return func(t testing.TB, foreign bool) *booted {
			b := &booted{t: t, dir: systest.TempDir(t), images: []string{"linuxfs"}, over: "rootfs", isImage: true, up: "upper", work: "work", top: top, ids: true}
			squashIt(t, b, system(t, top, foreign), "linuxfs")
			image(t, b.dir+"/rootfs", nil, "upper", "work")
			return b
		}
	}
	liveos := func(flat, asImage bool) func(t testing.TB, foreign bool) *booted {
		return func(t testing.TB, foreign bool) *booted {
			b := &booted{t: t, dir: systest.TempDir(t), live: "LiveOS", images: []string{"LiveOS/squashfs.img"}, top: "etc"}
			from := system(t, "etc", foreign)
			if !flat {
				b.inner = "LiveOS/rootfs.img"
				d := systest.TempDir(t)
				systest.Must(t, os.Mkdir(d+"/LiveOS", 0o755))
				systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", from, d+"/"+b.inner, "16M")
				from = d
			}
			squashIt(t, b, from, b.images[0])
			if asImage {
				b.over, b.isImage, b.up, b.work = "LiveOS/overlay-LIVE-12AB-34CD", true, "overlayfs", "ovlwork"
				image(t, filepath.Join(b.dir, b.over), nil, b.up, b.work)
				return b
			}
			b.over, b.up, b.work = "LiveOS", "overlay-LIVE-12AB-34CD", "ovlwork"
			dirs(t, b)
			return b
		}
	}
	debian := func(asImage, several bool) func(t testing.TB, foreign bool) *booted {
		return func(t testing.TB, foreign bool) *booted {
			b := &booted{t: t, dir: systest.TempDir(t), images: []string{"live/filesystem.squashfs"}, over: "persistence", isImage: asImage, up: "rw", work: "work", top: "etc"}
			squashIt(t, b, system(t, "etc", foreign), b.images[0])
			if several && !foreign {
				d := systest.TempDir(t)
				systest.Must(t, os.Chmod(d, 0o755))
				for i := 12; i < 34; i += 3 {
					write(t, fmt.Sprintf("%s/etc/b%d", d, i), fmt.Appendf(nil, "module b%d\n", i), 0o644)
				}
				b.images = append(b.images, "live/zz-more.squashfs") // live-boot lays the first uppermost
				squashIt(t, b, d, b.images[1])
			}
			if asImage {
				image(t, filepath.Join(b.dir, b.over), map[string]string{"persistence.conf": "/ union\n"}, b.up, b.work)
				return b
			}
			write(t, b.dir+"/persistence/persistence.conf", []byte("/ union\n"), 0o644)
			dirs(t, b)
			return b
		}
	}
	return map[string]func(t testing.TB, foreign bool) *booted{
		"antiX":                     antix("etc"),
		"antiX, not stamped":        antix("opt"),
		"LiveOS, directory":         liveos(true, false),
		"LiveOS, image":             liveos(true, true),
		"LiveOS, nested, directory": liveos(false, false),
		"LiveOS, nested, image":     liveos(false, true),
		"Debian live":               debian(true, false),
		"Debian live, directory":    debian(false, false),
		"Debian live, two modules":  debian(true, true),
		"archiso, directory": func(t testing.TB, foreign bool) *booted {
			b := &booted{t: t, dir: systest.TempDir(t), images: []string{"arch/x86_64/airootfs.sfs"}, over: "persistent_ARCH/x86_64", up: "upperdir", work: "workdir", top: "etc"}
			squashIt(t, b, system(t, "etc", foreign), b.images[0])
			dirs(t, b)
			return b
		},
		"casper": func(t testing.TB, foreign bool) *booted {
			b := &booted{t: t, dir: systest.TempDir(t), images: []string{"casper/filesystem.squashfs"}, over: "writable", isImage: true, up: "upper", work: "work", top: "etc"}
			squashIt(t, b, system(t, "etc", foreign), b.images[0])
			image(t, b.dir+"/writable", nil, b.up, b.work)
			return b
		},
	}
}

// TestOriginsCrash: wherever a verb that replaces a base is cut off, and after
// it, the kernel shows the files of before or of after, under whatever options
// it mounts the overlay with: no mark in it leads to another file.
func TestOriginsCrash(t *testing.T) {
	requireKernel(t)
	for name, fill := range bootedMedia() {
		for _, c := range []struct {
			name, options string
			links, moves  bool
		}{
			{"redirect_dir", "redirect_dir=on", true, false},
			{"index", "index=on", false, false},
			{"all", overlayOptions[len(overlayOptions)-1], true, true},
		} {
			if c.moves && !slices.Contains([]string{"LiveOS, image", "Debian live", "antiX, not stamped"}, name) {
				continue // an overlay that depends on its base is set aside by whatever layout
			}
			if c.options != "redirect_dir=on" && strings.HasSuffix(name, "directory") {
				continue // an index knows its layer by inode, which a copy would change
			}
			t.Run(name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				b := fill(t, false)
				b.known = map[string]map[string]string{}
				if b.options = overlayOptions; c.moves {
					b.options = []string{c.options} // what it needs
				}
				b.use(c.options, func(mnt string) { originUse(t, filepath.Join(mnt, b.top), c.links, c.moves) })
				(&originsCrash{booted: b, kind: name, foreign: fill(t, true), leans: c.moves}).run()
			})
		}
	}
}

type originsCrash struct {
	*booted
	kind    string
	foreign *booted
	leans   bool
}

func (o *originsCrash) copy() *booted {
	c := o.at(systest.MemDir(o.t))
	systest.Run(o.t, "cp", "-a", "--sparse=always", o.dir+"/.", c.dir)
	return c
}

// alone is what the base shows without an overlay.
func (b *booted) alone() string {
	b.t.Helper()
	c := *b
	c.over, c.options, c.known = "nothing", []string{""}, map[string]map[string]string{}
	return c.shows()[""]
}

// Astray reports what relive makes of the overlay's marks over a base.
func (o *originsCrash) astray(base *booted) bool {
	o.t.Helper()
	e := environment(o.t, codec.Auto)
	l, err := live.Open(o.t.Context(), e, o.livePath())
	systest.Must(o.t, err)
	defer l.Close()
	at, err := live.Open(o.t.Context(), e, base.livePath())
	systest.Must(o.t, err)
	defer at.Close()
	astray, err := l.Astray(o.t.Context(), at.Base)
	systest.Must(o.t, err)
	return astray
}

// repack packs the base anew.
func (b *booted) repack() {
	b.t.Helper()
	base := filepath.Join(b.dir, b.images[0])
	at, drop := systest.Mount(b.t, "squashfs", "loop,ro", base)
	systest.Run(b.t, "mksquashfs", at, base+".packed", "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	drop()
	systest.Must(b.t, os.Rename(base+".packed", base))
}

func (o *originsCrash) run() {
	t := o.t
	before := o.relives()
	for options, text := range o.shows() {
		if text != before {
			t.Fatalf("mounted with %q it shows another thing than relive:\n%s", options, firstDifferences(map[string]string{before: ""}, text))
		}
	}
	allowed := map[string]string{o.alone(): "old base alone", before: "before"}
	if !strings.Contains(o.kind, "modules") && (o.astray(o.booted) || !o.leans && !strings.Contains(o.kind, "nested") && !o.astray(o.foreign)) {
		t.Errorf("marks are said to lead astray in their own base: %v, in a foreign one: %v", o.astray(o.booted), o.astray(o.foreign))
	}
	compact := func(co compact.Options) func(e *job.Env, live string) error {
		return func(e *job.Env, dir string) error {
			l, err := live.Open(t.Context(), e, dir)
			if err != nil {
				return err
			}
			defer l.Close()
			p, err := compact.New(t.Context(), e, l, co)
			if err != nil {
				return err
			}
			_, err = p.Run(t.Context())
			return err
		}
	}
	rollback := func(e *job.Env, live string) error {
		p, err := rollback.New(t.Context(), e, live)
		if err != nil {
			return err
		}
		return p.Run(t.Context())
	}
	updateWith := func(how string) func(e *job.Env, live string) error {
		return func(e *job.Env, live string) error {
			_, err := tryUpdate(t, e, live, o.foreign.livePath(), update.Options{Overlay: how, KeepOld: 1,
				Rebase: rebase.Options{Prefer: rebase.PreferOverlay, Grow: true}})
			return err
		}
	}

	// The base stays what it was to the overlay, which needs no other order.
	c := o.copy()
	met := c.cut("compact", allowed, compact(keepOne()))
	nested := strings.Contains(o.kind, "nested")
	if met["before"] == 0 || !o.leans && !nested && !strings.Contains(o.kind, "modules") && met["old base alone"] > 0 {
		t.Errorf("compact: %v", met)
	}
	packed := c.at(systest.MemDir(t))
	systest.Run(t, "cp", "-a", "--sparse=always", c.dir+"/.", packed.dir)
	if met := c.cut("rollback", allowed, rollback); met["before"] == 0 {
		t.Errorf("rollback: %v", met)
	}
	if !nested && !o.leans && !strings.Contains(o.kind, "modules") {
		// The same files with other numbers.
		packed.repack()
		more := maps.Clone(allowed)
		if text := packed.alone(); more[text] == "" {
			more[text] = "present base alone"
		}
		if met := packed.cut("rollback from a base packed anew", more, rollback); met["before"] == 0 {
			t.Errorf("rollback from a base packed anew: %v", met)
		}
	}

	c = o.copy()
	stay := keepOne()
	stay.NoReset = true
	if o.leans {
		err := compact(stay)(environment(t, codec.Auto), c.livePath())
		if _, ok := refusal.Is(err); !ok {
			t.Errorf("compact --no-reset: %v", err)
		}
	} else {
		c.cut("compact --no-reset", allowed, compact(stay))
		// The layer goes on, with marks of both bases.
		c.use("redirect_dir=on", func(mnt string) {
			top := filepath.Join(mnt, c.top)
			write(t, top+"/b18", []byte("later\n"), 0o644)
			write(t, top+"/a", []byte("later a\n"), 0o644)
			systest.Must(t, os.Remove(top+"/b20"))
			systest.Must(t, os.Rename(top+"/b25", top+"/b25.moved"))
		})
		later := map[string]string{c.alone(): "base alone", c.relives(): "later"}
		c.cut("compact --no-reset again", later, compact(stay))
	}

	// Over a foreign base.
	kinds := []string{update.OverlayRebase, update.OverlayKeep}
	if o.leans || strings.Contains(o.kind, "modules") {
		kinds = kinds[:1]
	}
	if strings.Contains(o.kind, "modules") {
		return // more than one image cannot be replaced in one step
	}
	for _, how := range kinds {
		done := o.copy()
		if err := updateWith(how)(environment(t, codec.Auto), done.livePath()); err != nil {
			t.Fatalf("update --overlay %s: %v (hint: %s)", how, err, refusal.Hint(err))
		}
		after := maps.Clone(allowed)
		after[o.foreign.alone()] = "new base alone"
		after[done.relives()] = "after"
		c := o.copy()
		met := c.cut("update --overlay "+how, after, updateWith(how))
		if met["before"] == 0 || met["after"] == 0 {
			t.Errorf("update --overlay %s: %v", how, met)
		}
		if how == update.OverlayKeep && !o.isImage {
			continue // the overlay has no former state to go back to
		}
		if met := c.cut("rollback of the update", after, rollback); met["before"] == 0 {
			t.Errorf("rollback of update --overlay %s: %v", how, met)
		}
	}
}
