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

	"relive/remaster/job"
	"relive/remaster/menu"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/say"
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
		Key: "debian", Identity: ".disk/live-uuid",
		// live-config
		LiveUIDs: []uint32{1000}, LiveUserFiles: []string{"lib/live/config/0030-user-setup", "usr/lib/live/config/0030-user-setup"},
		OtherSets: "the boot arguments persistence-label= and persistence-path= name another file, partition or directory; " + say.Overlay +
			" " +
			"names the one that is meant",
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

// listed returns the images that a list of them names, and the list; nil where there
// is none. The argument module= names another list.
func (liveBoot) listed(s *search, f *Found, in string, images []string) (modules string, listed []string, err error) {
	module := "filesystem"
	switch said := s.menus(f.Dir).says(func(b *bootEntry) (string, bool) { v, _ := b.value("module"); return v, true }); {
	case len(said) == 1 && said[0].value != "":
		module = said[0].value
	case len(said) > 1:
		for _, one := range said {
			if one.value != "" {
				f.unused(Unused{Path: path.Join(in, one.value+".module"), Why: one.entry + " boots with module=" + one.value +
					", and with the images that are listed there; the others of the menu do not"})
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
				return "", nil, refusal.New(refusal.NotFound, "restore it, or take it out of the list; a boot goes on without it",
					"%s: %s names %s, which is not there", f.Dir, name, image)
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
					Why: "holds images (" + strings.Join(images, ", ") +
						") that a boot on the machine with that hardware address stacks above the others",
					Hint: "on such a machine the new base would stand below them; move them away, or go on with " + say.Force +
						" and leave them " +
						"as they are"})
			}
			continue
		}
		stem, ok := strings.CutSuffix(name, ".old")
		if !ok {
			stem = StemOfOld(name)
		}
		stem = filepath.Join(in, stem)
		if s.generation == "" && slices.Contains(livebootImages, path.Ext(stem)) && stem != f.Files.Base &&
			!slices.Contains(f.Files.Stack, stem) && !slices.Contains(f.Files.Retired, stem) {
			f.Files.Retired = append(f.Files.Retired, stem)
		}
	}
	return nil
}

func (b liveBoot) open(_ context.Context, e *job.Env, l *Live) error {
	if l.overlay.dracut {
		if err := l.openBase(e, l.Path(l.Files.Base)); err != nil {
			return damageHint(err, say.Verify+" tells more of an image")
		}
		return l.OpenLiveOSOverlay()
	}
	over, inside := l.persistence()
	var root *tree.Node
	var conf persistenceConf
	if l.overlay.name != "" && Has(l.Place, over) {
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
		return damageHint(err, say.Verify+" tells more of an image")
	}
	if root == nil {
		return nil
	}
	return l.openUnions(root, conf.unions, inside)
}

// bound returns the directories of the persistence that are bound or linked.
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

// livebootWay is how an entry of the menus has live-boot look for persistence
// (9990-cmdline-old, 9990-overlay.sh).
type livebootWay struct {
	labels  []string // persistence-label=
	path    string   // persistence-path=
	storage []string // persistence-storage=
	toram   bool
	entry   string // "" where no entry tells
}

func livebootWays(m *bootMenus) (ways []livebootWay) {
	for i := range m.entries {
		b := &m.entries[i]
		if !b.has("persistence", "persistent") || b.has("nopersistence", "nopersistent") {
			continue
		}
		w := livebootWay{labels: []string{livebootPersistence}, storage: []string{"filesystem", "file"}, entry: b.name()}
		if v, ok := b.value("persistence-label"); ok {
			w.labels = strings.Split(v, ",")
		}
		if v, ok := b.value("persistence-storage"); ok {
			w.storage = strings.Split(v, ",")
		}
		w.path, _ = b.value("persistence-path")
		_, ram := b.value("toram")
		w.toram = ram || b.has("toram")
		if strings.Contains(w.path+strings.Join(w.labels, ""), "${") {
			continue
		}
		same := slices.IndexFunc(ways, func(o livebootWay) bool {
			return slices.Equal(o.labels, w.labels) && o.path == w.path && slices.Equal(o.storage, w.storage)
		})
		if same >= 0 {
			ways[same].toram = ways[same].toram || w.toram
			continue
		}
		ways = append(ways, w)
	}
	return ways
}

// usual reports whether a way is the one without arguments.
func (w *livebootWay) usual() bool {
	return trimPath(w.path) == "" && slices.Equal(w.labels, []string{livebootPersistence})
}

// arguments are the ones that name the place.
func (w *livebootWay) arguments() string {
	var out []string
	if w.path != "" {
		out = append(out, "persistence-path="+w.path)
	}
	if !slices.Equal(w.labels, []string{livebootPersistence}) {
		out = append(out, "persistence-label="+strings.Join(w.labels, ","))
	}
	return strings.Join(out, " ")
}

// places finds the persistence that a boot uses. live-boot looks on all devices
// but, since 20220505, that of the medium itself: for partitions by their name in
// the GPT or their label, and for files; for directories with
// persistence-storage=directory.
func (b liveBoot) places(s *search, f *Found, in string) error {
	if o, err := s.named(f.Dir); o != nil || err != nil {
		if err != nil {
			return err
		}
		return b.take(s, f, o)
	}
	if took, err := b.dracutOverlay(s, f, in); took || err != nil {
		return err
	}
	ways := livebootWays(s.menus(f.Dir))
	told := len(ways) > 0
	if !told {
		ways = []livebootWay{{labels: []string{livebootPersistence}, storage: []string{"filesystem", "file", "directory"}}}
	}
	var found []overlayAt
	for _, w := range ways {
		more, err := b.look(s, f, &w, told)
		if err != nil {
			return err
		}
		if len(more) == 0 && !w.usual() {
			f.unused(Unused{Path: path.Join(trimPath(w.path), strings.Join(w.labels, ",")), Boots: true,
				Why:  w.entry + " boots with " + w.arguments() + ", and there is no such persistence on this medium",
				Hint: "name the one that is meant with " + say.Overlay})
		}
		for _, o := range more {
			if !slices.ContainsFunc(found, func(have overlayAt) bool { return have.name == o.name }) {
				found = append(found, o)
			}
		}
	}
	if told && !slices.ContainsFunc(ways, func(w livebootWay) bool { return w.usual() }) && s.hasEither(f.Dir, livebootPersistence) {
		f.unused(Unused{Path: livebootPersistence, Why: "no entry of the menus boots with it: " + ways[0].entry + " has " +
			ways[0].arguments(), Hint: say.Overlay + " names it"})
	}
	o, err := choose(f.Dir, found)
	if err != nil {
		return err
	}
	if o == nil {
		f.overlay.name = livebootPersistence
		if told && !slices.ContainsFunc(ways, func(w livebootWay) bool { return w.usual() }) || f.ignored(livebootPersistence) {
			f.overlay.name = ""
		}
		return nil
	}
	return b.take(s, f, o)
}

// ignored reports whether a path was told of as not used.
func (f *Found) ignored(name string) bool {
	return slices.ContainsFunc(f.Unused, func(u Unused) bool { return u.Path == name })
}

// look looks for persistence in one way.
func (b liveBoot) look(s *search, f *Found, w *livebootWay, told bool) (found []overlayAt, err error) {
	source := func(text string) string {
		if w.entry != "" {
			text += "; " + w.entry + " boots with persistence"
			if a := w.arguments(); a != "" {
				text += " " + a
			}
		}
		return text
	}
	mounted := filepath.Join(f.Dir, livebootPersistence)
	for _, n := range s.neighbours(f.Dir) {
		where := Where{Path: n.Name}
		var at string
		partition := false
		switch {
		case slices.Contains(w.storage, "filesystem") && n.called(w.labels...):
			where.Source, at, partition = source(n.by(w.labels...)), n.Root, true
		case n.Root != "":
			for _, label := range w.labels {
				name := filepath.Join(n.Root, trimPath(w.path), label)
				if slices.Contains(w.storage, "file") && IsFile(s.at, name) || w.entry != "" && slices.Contains(w.storage, "directory") &&
					IsDir(s.at, name) {
					where = Where{Path: n.Name + ":/" + path.Join(trimPath(w.path), label),
						Source: source("a boot looks for a file of that name on all partitions")}
					at = name
				}
			}
			if at == "" {
				continue
			}
		default:
			continue
		}
		if n.mounted && sameFile(at, mounted) {
			continue // it is the directory persistence of the live directory
		}
		o, err := s.beside(f, &n, at, overlayAt{partition: partition, where: where})
		if err != nil {
			return nil, err
		}
		if o != nil {
			found = append(found, *o)
		}
	}
	for _, label := range w.labels {
		name := path.Join(trimPath(w.path), label)
		at := filepath.Join(f.Dir, name)
		file := IsFile(s.at, at+s.generation)
		switch {
		case file || IsFile(s.at, at+".old") && !IsDir(s.at, at):
			if why := b.ignoresOwn(s, f, w); why != "" {
				f.unused(Unused{Path: name, Why: why, Hint: say.Overlay + " names it all the same"})
				continue
			}
		case !IsDir(s.at, at):
			continue
		case told && !slices.Contains(w.storage, "directory") && !(s.at == Place(Host{}) && isMountPoint(at)):
			f.unused(Unused{Path: name, Why: "a boot takes a directory as persistence with persistence-storage=directory only, which no " +
				"entry of the menus has", Hint: say.Overlay + " names it all the same"})
			continue
		}
		o := overlayAt{name: name}
		if w.entry != "" {
			o.where = Where{Path: name, Source: source("it lies on the medium")}
		}
		found = append(found, o)
	}
	return found, nil
}

// skipsOwn is in the scripts of a live-boot that leaves the medium's own device
// out when it looks for persistence (find_persistence_media, since 20220505).
const skipsOwn = "/run/live/medium /run/live/rootfs/*"

// ignoresOwn tells why a boot of the medium ignores a file of persistence on the
// medium's own partition, "" where it uses it or nothing tells.
func (b liveBoot) ignoresOwn(s *search, f *Found, w *livebootWay) string {
	if w.toram || !s.isMedium(f.Dir) {
		return ""
	}
	for _, name := range s.initrds(filepath.Join(f.Dir, path.Dir(f.Files.Base))) {
		if strings.Contains(s.initrdFile(name, "lib/live/boot/9990-misc-helpers.sh"), skipsOwn) {
			return "a boot ignores it: since 20220505 live-boot, which is in " + filepath.Base(name) +
				", looks on other partitions only, unless it boots with toram"
		}
	}
	return ""
}

// take makes a place the persistence, with the names that a compaction makes
// anew: the file, or of a directory the layers in it.
func (b liveBoot) take(s *search, f *Found, o *overlayAt) error {
	at := filepath.Join(f.Dir, o.name)
	if o.partition || !IsDir(s.at, at) {
		f.use(o)
		if !o.partition && !s.has(f.Dir, o.name) && s.generation != "" {
			f.Files.Overlay = nil
		}
		return nil
	}
	unions, err := confUnions(s.at, at)
	if err != nil {
		return err
	}
	f.use(o)
	f.Files.Overlay = nil
	for _, u := range unions {
		for _, name := range []string{UnionUpper, UnionWork} {
			name = filepath.Join(o.name, u.source, name)
			if s.hasEither(f.Dir, name) && !slices.Contains(f.Files.Overlay, name) {
				f.Files.Overlay = append(f.Files.Overlay, name)
			}
		}
	}
	return nil
}

// dracutOverlay takes the overlay of dracut's dmsquash-live, which Debian's images
// may have instead of live-boot (live-build: --initramfs dracut-live).
func (b liveBoot) dracutOverlay(s *search, f *Found, in string) (bool, error) {
	dir := filepath.Join(f.Dir, in)
	names, err := LiveosOverlayNames(s.at, dir, s.generation)
	if err != nil || len(names) == 0 {
		return false, err
	}
	var found []overlayAt
	for _, name := range names {
		found = append(found, overlayAt{name: path.Join(in, name), dracut: true,
			where: Where{Path: path.Join(in, name), Source: "dracut's dmsquash-live takes an overlay of that name"}})
	}
	o, err := choose(f.Dir, found)
	if err != nil {
		return false, err
	}
	f.use(o)
	if IsDir(s.at, filepath.Join(f.Dir, o.name+s.generation)) {
		f.Files.Overlay = append(f.Files.Overlay, path.Join(in, LiveosWork))
	}
	return true, nil
}

func (liveBoot) Medium(l *Live) Medium {
	f := Medium{Root: l.Absolute(), Base: livebootDir + "/" + livebootBase}
	f.Own = []string{livebootDir + "/vmlinuz*", livebootDir + "/initrd*", l.Layout.Traits().Identity + "*"}
	f.Whole = []string{"d-i", "dists", "pool", "pool-udeb", "install", "win32-loader.ini", "g2ldr", "setup.exe", "README*", "doc", "css"}
	f.Sidecars = besideBase(l, f.Base)
	f.Kernels = []string{livebootDir + "/vmlinuz", livebootDir + "/vmlinuz*"}
	f.Initrds = []string{livebootDir + "/initrd.img", livebootDir + "/initrd*"}
	f.Arguments = func(string, string) []string { return []string{"boot=live", "components", "quiet"} }
	f.Machine, f.Values = menu.Machine(l.Layout.Traits().Key), dracutRoot // live-build has dracut, too
	return f
}

func (liveBoot) bootDirs(*Found) []string { return []string{livebootDir} }

func (liveBoot) belowRoot(*Found) bool { return false }
