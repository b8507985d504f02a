package live

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/hostdisk"
	"relive/remaster/kernel"
)

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
				Hint: "name the one that is meant with --overlay"})
		}
		for _, o := range more {
			if !slices.ContainsFunc(found, func(have overlayAt) bool { return have.name == o.name }) {
				found = append(found, o)
			}
		}
	}
	if told && !slices.ContainsFunc(ways, func(w livebootWay) bool { return w.usual() }) && s.hasEither(f.Dir, livebootPersistence) {
		f.unused(Unused{Path: livebootPersistence, Why: "no entry of the menus boots with it: " + ways[0].entry + " has " + ways[0].arguments(), Hint: "--overlay names it"})
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
				if slices.Contains(w.storage, "file") && IsFile(s.at, name) || w.entry != "" && slices.Contains(w.storage, "directory") && IsDir(s.at, name) {
					where = Where{Path: n.Name + ":/" + path.Join(trimPath(w.path), label), Source: source("a boot looks for a file of that name on all partitions")}
					at = name
				}
			}
			if at == "" {
				continue
			}
		default:
			continue
		}
		switch {
		case at == "":
			f.unused(Unused{Path: where.Path, Boots: true, Why: "a boot uses it as persistence (" + where.Source + "), and it cannot be read: " + n.Why, Hint: "mount it, and name the directory with --overlay"})
		case n.mounted && sameFile(at, mounted):
			// It is the directory persistence of the live directory.
		case n.mounted:
			f.unused(Unused{Path: where.Path, Boots: true, Why: "a boot uses it as persistence (" + where.Source + ")", Hint: "name it with --overlay " + at})
		default:
			name, err := s.dirOf(f.Dir, at)
			if err != nil {
				return nil, err
			}
			found = append(found, overlayAt{name: name, partition: partition, where: where})
		}
	}
	for _, label := range w.labels {
		name := path.Join(trimPath(w.path), label)
		at := filepath.Join(f.Dir, name)
		file := IsFile(s.at, at+s.generation)
		switch {
		case file || IsFile(s.at, at+".old") && !IsDir(s.at, at):
			if why := b.ignoresOwn(s, f, w); why != "" {
				f.unused(Unused{Path: name, Why: why, Hint: "--overlay names it all the same"})
				continue
			}
		case !IsDir(s.at, at):
			continue
		case told && !slices.Contains(w.storage, "directory") && !(s.at == Place(Host{}) && isMountPoint(at)):
			f.unused(Unused{Path: name, Why: "a boot takes a directory as persistence with persistence-storage=directory only, which no entry of the menus has", Hint: "--overlay names it all the same"})
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
			return "a boot ignores it: since 20220505 live-boot, which is in " + filepath.Base(name) + ", looks on other partitions only, unless it boots with toram"
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
		found = append(found, overlayAt{name: path.Join(in, name), dracut: true, where: Where{Path: path.Join(in, name), Source: "dracut's dmsquash-live takes an overlay of that name"}})
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

// initrds are the initrds in a directory of the medium.
func (s *search) initrds(dir string) (paths []string) {
	names, err := s.at.List(dir)
	if err != nil {
		return nil
	}
	for _, name := range names {
		if strings.HasPrefix(name, "initrd") && !isExtra(name) && IsFile(s.at, filepath.Join(dir, name)) {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	return paths
}

// initrdWanted are the files of initrds that tell how a medium boots. A path may
// begin at usr as well.
var initrdWanted = []string{
	"lib/live/boot/9990-misc-helpers.sh",
	"scripts/casper-helpers", "scripts/casper", "conf/conf.d/default-layer.conf",
}

// initrdFile gives the text of a file in an initrd, one of initrdWanted; "" where
// there is none or the initrd cannot be read.
func (s *search) initrdFile(path, file string) string {
	if s.initrdTexts == nil {
		s.initrdTexts = map[string]map[string][]byte{}
	}
	files, read := s.initrdTexts[path]
	if !read {
		files = s.readInitrd(path)
		s.initrdTexts[path] = files
	}
	if text, ok := files[file]; ok {
		return string(text)
	}
	return string(files["usr/"+file])
}

func (s *search) readInitrd(path string) map[string][]byte {
	c, err := s.at.Open(path)
	if err != nil {
		return nil
	}
	defer c.Close()
	wanted := slices.Clone(initrdWanted)
	for _, file := range initrdWanted {
		wanted = append(wanted, "usr/"+file)
	}
	r, err := kernel.Initrd(context.Background(), c, path, wanted...)
	if err != nil {
		return nil
	}
	return r.Files
}

// isMedium reports whether a directory is the root of a medium, and not a copy of
// its files: what a boot takes depends on the file system there.
func (s *search) isMedium(dir string) bool {
	if at, ok := s.at.(Tree); ok {
		return dir == at.Name
	}
	return isMountPoint(dir)
}

func isMountPoint(dir string) bool { return hostdisk.IsMountPoint(dir) }

// sameFile reports whether two paths of the host are the same file.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
