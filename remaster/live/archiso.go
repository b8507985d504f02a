package live

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/job"
	"relive/remaster/menu"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
)

// archiso is the layout of Arch Linux's live media: <dir>/<arch>/airootfs.sfs,
// or airootfs.erofs,
// and, at the root of the device with the changes, persistent_<label>/<arch>,
// which holds overlayfs's upperdir and workdir, or airootfs.cow where
// airootfs.sfs holds an airootfs.img (mkinitcpio-archiso, hooks/archiso).
type archiso struct{}

// Files of the layout.
const (
	archisoBase    = "airootfs.sfs"
	archisoEROFS   = "airootfs.erofs"
	archisoInner   = "airootfs.img"
	ArchisoCOW     = "airootfs.cow"
	archisoUpper   = "upperdir"
	archisoWork    = "workdir"
	archisoChanges = "persistent_"
)

// Name implements Layout.
func (archiso) Name() string { return "archiso" }

// Traits implements Layout.
func (archiso) Traits() Traits {
	return Traits{
		Key: "archiso", BootsEROFS: true, FormatInName: true, FlatOverlay: archisoUpper,
		OtherSets: "the boot arguments cow_label= and cow_directory= name another partition or directory; " + say.Overlay +
			" names the one that " +
			"is meant",
	}
}

func (a archiso) find(s *search, dir string) (*Found, error) {
	at, generation := s.at, s.generation
	var bases []string
	name := ""
	for _, name = range []string{archisoBase, archisoEROFS} {
		var err error
		bases, err = twoBelow(at, dir, func(first, second string) string {
			if !IsFile(at, filepath.Join(dir, first, second, name+generation)) {
				return ""
			}
			return name
		})
		if err != nil {
			return nil, err
		}
		if len(bases) > 0 {
			break
		}
	}
	if len(bases) == 0 {
		return nil, nil
	}
	if len(bases) > 1 {
		return nil, refusal.New(refusal.Ambiguous, "give a directory that holds one of them", "%s: there are %d bases: %s", dir, len(bases),
			strings.Join(bases, ", "))
	}
	f := &Found{Dir: dir, Files: Files{Base: bases[0]}}
	return f, a.places(s, f)
}

// twoBelow looks two directories below dir for the names that name gives for
// them, relative to dir; "" does not count.
func twoBelow(at Place, dir string, name func(first, second string) string) (out []string, err error) {
	firsts, err := at.List(dir)
	if err != nil {
		return nil, err
	}
	for _, first := range firsts {
		if !IsDir(at, filepath.Join(dir, first)) {
			continue
		}
		seconds, err := at.List(filepath.Join(dir, first))
		if errors.Is(err, fs.ErrPermission) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, second := range seconds {
			n := name(first, second)
			if n == "" {
				continue
			}
			out = append(out, filepath.Join(first, second, n))
		}
	}
	return out, nil
}

func (archiso) open(_ context.Context, e *job.Env, l *Live) error {
	path := l.Path(l.Files.Base)
	if err := l.openBase(e, path, archisoInner); err != nil {
		return damageHint(err, say.Verify+" "+path+" tells more")
	}
	if len(l.Files.Overlay) == 0 {
		return nil
	}
	at := l.Path(l.Files.Overlay[0])
	if !Has(l.Place, at) {
		return nil
	}
	if !IsFile(l.Place, at) {
		return l.openDirOverlay(at, l.Path(l.Files.Overlay[1]))
	}
	if l.Base.Inner == nil {
		return refusal.New(refusal.UnsupportedForm, "move it away: above a base without one, changes are kept in "+archisoUpper,
			"%s is a device-mapper snapshot, but %s holds no %s that it could be over", at, l.Base.Path, archisoInner)
	}
	return l.openCOW(at)
}

func (archiso) openAlone(e *job.Env, l *Live, path string, _ probe.Kind) error {
	return l.openBase(e, path, archisoInner)
}

func (archiso) check(ctx context.Context, e *job.Env, l *Live, to *Intent) error {
	return l.CheckMerged(ctx, e, to)
}

func (archiso) system(_ context.Context, _ *Live, merged *tree.Node, _ Stamp) (*tree.Node, Version, error) {
	return merged, Version{}, nil
}

// places finds the directory with the changes: persistent_*/ARCH, or the one that
// cow_directory= names, on the medium or on the partition that cow_label= or
// cow_device= names (mkinitcpio-archiso, hooks/archiso: run_hook).
func (a archiso) places(s *search, f *Found) error {
	if o, err := s.named(f.Dir); o != nil || err != nil {
		if err != nil {
			return err
		}
		return a.takeNamed(s, f, o)
	}
	m := s.menus(f.Dir)
	dirs := sure(m.says(func(b *bootEntry) (string, bool) {
		v, ok := b.value("cow_directory")
		return trimPath(v), ok && trimPath(v) != ""
	}))
	devices := sure(m.says(func(b *bootEntry) (string, bool) {
		if v, ok := b.value("cow_device"); ok {
			return v, true
		}
		v, ok := b.value("cow_label")
		return "LABEL=" + v, ok && v != ""
	}))
	source := func(where string) string {
		for _, one := range slices.Concat(devices, dirs) {
			where += "; " + one.entry + " boots with " + strings.TrimPrefix(one.value, "LABEL=")
		}
		return where
	}
	own, err := a.changesIn(s, f, f.Dir, dirs)
	if err != nil {
		return err
	}
	var found []overlayAt
	met := map[string]bool{}
	for _, n := range s.neighbours(f.Dir) {
		i := slices.IndexFunc(devices, func(d said) bool { return n.is(d.value) })
		if i >= 0 {
			met[devices[i].value] = true
		}
		if n.Root == "" {
			if i >= 0 {
				if _, err := s.beside(f, &n, "",
					overlayAt{where: Where{Path: n.Name, Source: devices[i].entry + " boots with it"}}); err != nil {
					return err
				}
			}
			continue
		}
		changes, err := a.changesIn(s, f, n.Root, dirs)
		if err != nil {
			return err
		}
		for _, c := range changes {
			where := Where{Path: n.Name + ":/" + c, Source: source("a partition with such a directory, its label is " + n.Label)}
			o, err := s.beside(f, &n, filepath.Join(n.Root, c), overlayAt{where: where})
			if err != nil {
				return err
			}
			if o != nil {
				found = append(found, *o)
			}
		}
	}
	for _, d := range devices {
		if !met[d.value] && !a.isOwn(s, f, d.value) && len(own) == 0 {
			f.unused(Unused{Path: d.value, Boots: true, Why: d.entry +
				" keeps the changes there, and there is no such partition beside this medium",
				Hint: "mount it, and name the directory with " + say.Overlay})
		}
	}
	if len(found) == 0 {
		for _, c := range own {
			found = append(found, overlayAt{name: c, where: Where{Path: c, Source: source("it lies on the medium")}})
		}
	} else {
		for _, c := range own {
			f.unused(Unused{Path: c, Why: "the one on " + found[0].where.Path + " is taken", Hint: say.Overlay + " names it all the same"})
		}
	}
	o, err := choose(f.Dir, found)
	if err != nil || o == nil {
		return err
	}
	a.take(f, o)
	return nil
}

// isOwn reports whether a device is the medium's own partition.
func (archiso) isOwn(s *search, f *Found, device string) bool {
	at, ok := s.at.(Tree)
	if !ok || at.stick == nil {
		return false
	}
	for _, p := range at.stick.partitions() {
		n := neighbour{Label: p.Label, PartLabel: p.Name, UUID: p.UUID, PartUUID: p.PartUUID}
		if at.stick.partitionPath(p) == at.Name && n.is(device) {
			return true
		}
	}
	return false
}

// changesIn names what holds changes below the root of a file system: directories
// of the name that a boot makes, or those that the menus name.
func (archiso) changesIn(s *search, f *Found, root string, dirs []said) ([]string, error) {
	arch := path.Base(path.Dir(f.Files.Base))
	holds := func(in string) string {
		for _, name := range []string{ArchisoCOW, archisoUpper} {
			if Has(s.at, filepath.Join(root, in, name+s.generation)) {
				return path.Join(in, name)
			}
		}
		return ""
	}
	var out []string
	for _, d := range dirs {
		if name := holds(d.value); name != "" {
			out = append(out, name)
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	return twoBelow(s.at, root, func(first, second string) string {
		if !strings.HasPrefix(first, archisoChanges) || second != arch {
			return ""
		}
		return strings.TrimPrefix(holds(path.Join(first, second)), path.Join(first, second)+"/")
	})
}

// take makes that the overlay.
func (archiso) take(f *Found, o *overlayAt) {
	f.use(o)
	if path.Base(o.name) == archisoUpper {
		f.Files.Overlay = append(f.Files.Overlay, path.Join(path.Dir(o.name), archisoWork))
	}
}

// takeNamed takes the overlay in a directory that was named: upperdir itself, the
// directory that holds it, or the root of a file system that a boot looks in.
func (a archiso) takeNamed(s *search, f *Found, o *overlayAt) error {
	at := filepath.Join(f.Dir, o.name)
	switch base := path.Base(o.name); {
	case !IsDir(s.at, at) || base == archisoUpper:
	case Has(s.at, filepath.Join(at, archisoUpper+s.generation)):
		o.name = path.Join(o.name, archisoUpper)
	case Has(s.at, filepath.Join(at, ArchisoCOW+s.generation)):
		o.name = path.Join(o.name, ArchisoCOW)
	default:
		changes, err := a.changesIn(s, f, at, nil)
		if err != nil {
			return err
		}
		if len(changes) != 1 {
			return refusal.New(refusal.Ambiguous, "name the directory that holds "+archisoUpper,
				"%s: there are %d directories persistent_*/%s with changes in it", o.where.Path, len(changes),
				path.Base(path.Dir(f.Files.Base)))
		}
		o.name = path.Join(o.name, changes[0])
	}
	o.partition = false
	a.take(f, o)
	return nil
}

func (archiso) Medium(l *Live) Medium {
	arch := filepath.Dir(l.Files.Base) // arch/x86_64
	dir := filepath.Dir(arch)
	f := Medium{Root: l.Absolute(), Base: l.Files.Base}
	own := literally(dir)
	f.Own = []string{own + "/boot", own + "/version", own + "/grubenv"}
	f.Sidecars = besideBase(l, f.Base)
	f.Kernels = []string{own + "/boot/" + filepath.Base(arch) + "/vmlinuz*", own + "/boot/vmlinuz*", own + "/boot/*/vmlinuz*"}
	f.Initrds = []string{own + "/boot/" + filepath.Base(arch) + "/initramfs*", own + "/boot/initramfs*", own + "/boot/*/initramfs*"}
	f.Arguments = func(label, uuid string) []string {
		medium := "archisolabel=" + label
		if label == "" {
			medium = "archisodevice=/dev/disk/by-uuid/" + uuid
		}
		return []string{"archisobasedir=" + dir, medium}
	}
	// archisosearchuuid= is such a file's name, and not looked for as a UUID
	// (hooks/archiso: _search_for_archisodevice). Others stay: loaders may have theirs
	// linked in.
	f.Marker = func(uuid string) string { return "boot/" + uuid + ".uuid" }
	f.Values = func(_, uuid string) []menu.ValueEdit {
		// /dev/loop0 stays: menus for booting the image from a file have it.
		var old []string
		for _, begins := range []string{"UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=", "/dev/disk/", "/dev/sd", "/dev/hd", "/dev/vd",
			"/dev/xvd", "/dev/nvme", "/dev/mmcblk"} {
			old = append(old, "archisodevice="+begins)
		}
		return []menu.ValueEdit{{Old: old, New: "archisodevice=/dev/disk/by-uuid/" + uuid, Known: true}}
	}
	return f
}

// bootDirs: beside the directory of each architecture is boot/ARCH.
func (archiso) bootDirs(f *Found) []string {
	install, rest, _ := strings.Cut(f.Files.Base, "/")
	arch, _, _ := strings.Cut(rest, "/")
	return []string{filepath.Join(install, "boot", arch)}
}

func (archiso) belowRoot(*Found) bool { return false }
