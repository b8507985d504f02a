package live

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"relive/overlay"
	"relive/remaster/job"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/tree"
)

// liveBoot is the layout of Debian live: images in live/, and persistence in a
// partition, file or directory of that name (live-boot: 9990-overlay.sh,
// 9990-misc-helpers.sh, persistence.conf(5)), or with dracut instead of live-boot
// an overlay in live/ (see liveOS).
//
// Several images are stacked, in the order of their names or of a list
// NAME.module, the last on top; where the root is a persistent union, live-boot
// stacks them the other way about, and so it does below each other union. A
// compaction makes one image of all, so that there is no order any more.
//
// Of persistence.conf, unions are folded in. What is bound or linked lies
// beside the system, as homefs does with antiX, and stays where it is.
type liveBoot struct{}

// Files of the layout.
const (
	livebootDir         = "live"
	livebootBase        = "filesystem.squashfs"
	livebootModules     = "filesystem.module"
	livebootPersistence = "persistence"
	livebootConf        = "persistence.conf"
	UnionUpper          = "rw"
	UnionWork           = "work"
)

// livebootImages are the extensions of the images that live-boot stacks
// (9990-overlay.sh: setup_unionfs).
var livebootImages = []string{".squashfs", ".ext2", ".ext3", ".ext4", ".xfs", ".jffs2", ".dir"}

// Name implements Layout.
func (liveBoot) Name() string { return "Debian live" }

// Traits implements Layout.
func (liveBoot) Traits() Traits {
	return Traits{
		Key:       "debian",
		OtherSets: "the boot arguments persistence-label= and persistence-path= name another file, partition or directory; --overlay names the one that is meant",
	}
}

func (b liveBoot) find(s *search, dir string) (*Found, error) {
	in := b.dirOf(s, dir)
	images, err := imagesIn(s.at, filepath.Join(dir, in), s.generation, livebootImages...)
	if err != nil || !slices.ContainsFunc(images, isSquash) {
		return nil, err
	}
	f := &Found{Dir: dir, Files: Files{}}
	modules, listed, err := b.listed(s, f, in, images)
	if err != nil {
		return nil, err
	}
	if listed != nil {
		images = listed
	}
	if !slices.ContainsFunc(images, isSquash) {
		return nil, nil
	}
	own := slices.Index(images, livebootBase)
	if own < 0 {
		own = slices.IndexFunc(images, isSquash)
	}
	for i, name := range images {
		name = filepath.Join(in, name)
		f.Files.Stack = append(f.Files.Stack, name)
		if i == own {
			f.Files.Base = name
		} else {
			f.Files.Retired = append(f.Files.Retired, name)
		}
	}
	if err := b.aside(s, f, in); err != nil {
		return nil, err
	}
	if modules != "" {
		// Without the list a boot would take images up that are not in it.
		own := filepath.Base(f.Files.Base)
		f.Files.Companions = []Companion{{Name: modules, Text: func(Facts) string { return own + "\n" }}}
	}
	f.ToRAM = s.menus(dir).toRAM()
	return f, b.places(s, f, in)
}

func isSquash(name string) bool { return path.Ext(name) == ".squashfs" }

// dirOf is the directory of the images: live, or the one that the medium's menus
// name with live-media-path=.
func (liveBoot) dirOf(s *search, dir string) string {
	if names, err := imagesIn(s.at, filepath.Join(dir, livebootDir), s.generation, livebootImages...); err == nil && len(names) > 0 {
		return livebootDir
	}
	said := sure(s.menus(dir).says(func(b *bootEntry) (string, bool) { return b.value("live-media-path") }))
	if len(said) == 1 && trimPath(said[0].value) != "" && !dotted(said[0].value) {
		return trimPath(said[0].value)
	}
	return livebootDir
}

// macName is the name of a directory in live/ whose images only the machine with
// that hardware address stacks (9990-main.sh: get_mac).
var macName = regexp.MustCompile(`^[0-9a-fA-F]{12}$`)

// listed gives the images that a list of them names, and the list; nil where there
// is none. The argument module= names another list.
func (liveBoot) listed(s *search, f *Found, in string, images []string) (modules string, listed []string, err error) {
	module := "filesystem"
	switch said := s.menus(f.Dir).says(func(b *bootEntry) (string, bool) { v, _ := b.value("module"); return v, true }); {
	case len(said) == 1 && said[0].value != "":
		module = said[0].value
	case len(said) > 1:
		for _, one := range said {
			if one.value != "" {
				f.unused(Unused{Path: path.Join(in, one.value+".module"), Why: one.entry + " boots with module=" + one.value + ", and with the images that are listed there; the others of the menu do not"})
			}
		}
	}
	for _, name := range []string{"filesystem." + module + ".module", module + ".module"} {
		name = filepath.Join(in, name)
		b, err := ReadSmall(s.at, filepath.Join(f.Dir, name+s.generation), 1<<20)
		if errors.Is(err, fs.ErrNotExist) && s.generation != "" {
			b, err = ReadSmall(s.at, filepath.Join(f.Dir, name), 1<<20)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", nil, err
		}
		listed = []string{}
		for _, image := range strings.Fields(string(b)) {
			if !slices.Contains(images, image) {
				return "", nil, refusal.New("restore it, or take it out of the list; a boot goes on without it", "%s: %s names %s, which is not there", f.Dir, name, image)
			}
			if !slices.Contains(listed, image) {
				listed = append(listed, image)
			}
		}
		return name, listed, nil
	}
	return "", nil, nil
}

// aside notes what an earlier compaction has set aside: it comes back with the
// former state, or gives way to what the next one sets aside. Images for single
// machines are named.
func (liveBoot) aside(s *search, f *Found, in string) error {
	names, err := s.at.List(filepath.Join(f.Dir, in))
	if err != nil {
		return err
	}
	for _, name := range names {
		if macName.MatchString(name) {
			images, err := imagesIn(s.at, filepath.Join(f.Dir, in, name), "", livebootImages...)
			if err == nil && len(images) > 0 {
				f.unused(Unused{Path: path.Join(in, name), Boots: true,
					Why:  "holds images (" + strings.Join(images, ", ") + ") that a boot on the machine with that hardware address stacks above the others",
					Hint: "on such a machine the new base would stand below them; move them away, or go on with --force and leave them as they are"})
			}
			continue
		}
		stem, ok := strings.CutSuffix(name, ".old")
		if !ok {
			stem = StemOfOld(name)
		}
		stem = filepath.Join(in, stem)
		if s.generation == "" && slices.Contains(livebootImages, path.Ext(stem)) && stem != f.Files.Base && !slices.Contains(f.Files.Stack, stem) && !slices.Contains(f.Files.Retired, stem) {
			f.Files.Retired = append(f.Files.Retired, stem)
		}
	}
	return nil
}

// imagesIn names the files with one of those extensions in a directory, and the
// directories with the extension .dir, sorted.
func imagesIn(at Place, dir, generation string, exts ...string) (names []string, err error) {
	if !IsDir(at, dir) {
		return nil, nil
	}
	entries, err := at.List(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e, generation)
		ext := filepath.Ext(name)
		if !ok || !slices.Contains(exts, ext) {
			continue
		}
		if st, err := at.Stat(filepath.Join(dir, e)); err == nil && (st.regular && ext != ".dir" || st.dir && ext == ".dir") {
			names = append(names, name)
		}
	}
	return names, nil
}

func (b liveBoot) open(_ context.Context, e *job.Env, l *Live) error {
	if l.overlay.dracut {
		if err := l.openBase(e, l.Path(l.Files.Base)); err != nil {
			return damageHint(err, "relive verify tells more of an image")
		}
		return l.OpenLiveOSOverlay()
	}
	over, inside := l.persistence()
	var root *tree.Node
	var conf persistenceConf
	if Has(l.Place, over) {
		var err error
		if root, err = l.openPersistence(over); err != nil {
			return err
		}
		if conf, err = readPersistenceConf(root); err != nil {
			return fmt.Errorf("%s: %w", l.Rel(over), err)
		}
		l.Overlay.Kept, l.Overlay.ByConf = conf.kept, true
		if conf.panics != "" {
			l.Overlay.Kept = append(l.Overlay.Kept, livebootConf+": "+conf.panics)
		}
		if l.Binds, err = bound(root, conf.binds); err == nil {
			l.Links, err = bound(root, conf.links)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", l.Rel(over), err)
		}
	}
	if err := l.openStack(e, b.stack(l, conf.unions)); err != nil {
		return damageHint(err, "relive verify tells more of an image")
	}
	if root == nil {
		return nil
	}
	return l.openUnions(root, conf.unions, inside)
}

// bound gives the directories of the persistence that are bound or linked.
func bound(root *tree.Node, of []union) (out []bind, err error) {
	for _, b := range of {
		n, err := DirectoryAt(root, b.source)
		if err != nil {
			return nil, err
		}
		if n != nil {
			out = append(out, bind{b.dir, n})
		}
	}
	return out, nil
}

// stack is the order of the images, the bottom first. Below a union of the root
// the first of their names is on top, and directories are left out: live-boot
// takes what is mounted in /run/live/rootfs (activate_custom_mounts).
func (liveBoot) stack(l *Live, unions []union) (names []string) {
	names = slices.Clone(l.Files.Stack)
	if len(unions) == 0 || unions[0].dir != "" {
		return names
	}
	names = slices.DeleteFunc(names, func(n string) bool { return path.Ext(n) == ".dir" })
	slices.Sort(names)
	slices.Reverse(names)
	return names
}

func (liveBoot) openAlone(e *job.Env, l *Live, path string, _ probe.Kind) error {
	return l.openBase(e, path)
}

func (liveBoot) check(ctx context.Context, e *job.Env, l *Live, to *Intent) error {
	if l.overlay.dracut {
		return l.CheckMerged(ctx, e, to)
	}
	return nil
}

func (liveBoot) system(_ context.Context, _ *Live, merged *tree.Node, _ Stamp) (*tree.Node, Version, error) {
	return merged, Version{}, nil
}

// persistence is the path of the persistence of live-boot, and what is appended to
// the names of the layers in it: a directory and a partition stay, and what is in
// them has generations.
func (l *Live) persistence() (over, inside string) {
	over = filepath.Join(l.Dir, l.overlay.name)
	if l.overlay.partition || IsDir(l.Place, over) {
		return over, l.Generation + l.overlayOf
	}
	return l.Path(l.overlay.name), ""
}

// aufsMarks are what aufs puts into the root of a branch that it writes to.
var aufsMarks = []string{".wh..wh.aufs", ".wh..wh.plnk", ".wh..wh.orph"}

// isAufs reports whether a directory is a branch of aufs that was written to.
func isAufs(dir *tree.Node) (bool, error) {
	for _, name := range aufsMarks {
		if n, err := dir.Child(name); n != nil || err != nil {
			return n != nil, err
		}
	}
	return false, nil
}

// aufsLayer is the layer of a union of aufs, which has its files in the very
// directory of the source, without what belongs to the file system or to
// live-boot there.
func aufsLayer(dir *tree.Node, root bool) (overlay.Layer, error) {
	var e tree.Edits
	if root {
		e.Remove("lost+found")
		e.Remove(livebootConf)
	}
	n, err := e.Apply(dir)
	return overlay.Layer{Root: n, Form: overlay.Aufs}, err
}
