package live

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/overlay"
	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/menu"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/swap"
	"relive/tree"
)

// antiX is the layout of antiX and MX Linux: linuxfs, rootfs and homefs in one
// directory (MX-Linux/mx-iso-template, initrd/init).
type antiX struct{}

// Files of the layout.
const (
	AntixBase = "linuxfs"
	AntixRoot = "rootfs"
	AntixHome = "homefs"
	antixMD5  = "linuxfs.md5"
	antixInfo = "linuxfs.info"
)

// AntixFollow are the files that init renames together with linuxfs, rootfs and
// linuxfs.md5 when it takes up a new linuxfs or rolls back (initrd/init:
// MAKE_OLD).
var AntixFollow = []string{"xtra", "deb", "xtra.tgz", "state"}

// antixDropped are the files of a running system that no merged image holds.
var antixDropped = []string{RootVIDFile, "etc/live/protect/remaster"}

// antixStamped are the files that tell of a base.
var antixStamped = append([]string{BaseVIDFile}, antixDropped...)

// Name implements Layout.
func (antiX) Name() string { return "antiX/MX" }

// Traits implements Layout.
func (antiX) Traits() Traits {
	return Traits{
		Key: "antix", VersionIDs: true, Stamped: antixStamped,
		Sets: SetDirectories, Stages: true, BootRollback: true, EitherForm: true, CopiesPlain: true, SavesByHand: true, KernelSums: true,
		RootLabel: AntixRoot, HomeLabel: AntixHome,
	}
}

func (a antiX) find(s *search, dir string) (*Found, error) {
	other, entry := a.otherBase(s, dir)
	if !IsFile(s.at, filepath.Join(dir, AntixBase+s.generation)) {
		if other != "" {
			return nil, refusal.New(refusal.UnsupportedForm, "rename it, with what stands beside it, and take sq=, sqname= and sqext= "+
				"out of the menus",
				"%s: %s boots %s, and relive knows the base of antiX by the name %s alone", dir, entry, other, AntixBase)
		}
		return nil, nil
	}
	f := &Found{Dir: dir, Files: Files{
		Base:    AntixBase,
		Overlay: []string{AntixRoot},
		Follow:  AntixFollow,
		Home:    AntixHome,
	}}
	if other != "" {
		f.unused(Unused{Path: other, Why: fmt.Sprintf("%s boots it in the place of %s", entry, AntixBase), Boots: true,
			Hint: "take sq=, sqname= and sqext= out of the menus, or move the one away that is not booted"})
	}
	if err := a.places(s, f); err != nil {
		return nil, err
	}
	return a.takeSet(s, f)
}

// otherBase names the file beside linuxfs that a menu boots in its place, and the
// entry that does (initrd/init: SQFILE_NAME, SQFILE_EXT, SQFILE_FILE).
func (antiX) otherBase(s *search, dir string) (name, entry string) {
	if s.generation != "" || !IsFile(s.at, filepath.Join(dir, "vmlinuz")) {
		return "", ""
	}
	menus := s.menus(filepath.Dir(filepath.Clean(dir)))
	for i := range menus.entries {
		b := &menus.entries[i]
		file, _ := b.value("sq")
		name, ok := b.value("sqname")
		if name = strings.TrimPrefix(name, "/"); !ok || name == "" {
			name = path.Base("/" + file)
		}
		if name == "/" {
			name = AntixBase
		}
		if ext, ok := b.value("sqext"); ok && ext != "" {
			name += "." + ext
		}
		if name != AntixBase && name == path.Base(name) && IsFile(s.at, filepath.Join(dir, name)) {
			return name, b.name()
		}
	}
	return "", ""
}

func (antiX) open(ctx context.Context, e *job.Env, l *Live) error {
	path := l.Path(AntixBase)
	if err := l.openBase(e, path, AntixBase); err != nil {
		return damageHint(err, say.Verify+" "+path+" tells more; if linuxfs.old is sound, "+say.Rollback+" "+l.Dir+" brings it back")
	}
	if err := l.OpenRootfs(); err != nil {
		return err
	}
	return nil
}

// OpenRootfs opens the overlay and merges it with the base.
func (l *Live) OpenRootfs() error {
	if len(l.Files.Overlay) == 0 {
		return nil // a rollback leaves it alone
	}
	path := l.Path(l.Files.Overlay[0])
	if !Has(l.Place, path) {
		return nil
	}
	img, err := l.OpenImage(path)
	if err != nil {
		return err
	}
	root, err := img.FS.Root()
	if err != nil {
		return err
	}
	name := l.Files.Overlay[0]
	found, err := overlay.Detect(root)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	o := &Overlay{Path: path, Image: img, Form: FormOverlayFS, Upper: found.Upper, Empty: found.Empty}
	if found.Form == overlay.Aufs {
		o.Form = FormAufs
	}
	l.Overlay = o
	if o.Upper == nil {
		return nil
	}
	if o.Empty, err = neverWritten(o.Upper); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	layer, err := found.Layer()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if o.Form == FormAufs {
		// There the layer is the root of the file system, with what mkfs puts in
		// it.
		var e tree.Edits
		e.Remove("lost+found")
		if layer.Root, err = e.Apply(layer.Root); err != nil {
			return err
		}
	}
	// init mounts as root and without userxattr, so marks are in the trusted
	// namespace; those under user are content, as of rootless containers. Marks
	// that are escaped for a nested overlay stay so: the merged tree becomes a
	// lower layer again, where the kernel takes the escape away.
	if o.Form == FormOverlayFS {
		layer.Namespace = overlay.Trusted
	}
	o.layer = layer
	if o.Union, err = o.Over(l.Base.Root); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	l.Merged = o.Union.Root()
	return nil
}

// Over merges the layer of a rootfs with a base.
func (o *Overlay) Over(base *tree.Node) (*overlay.Merged, error) {
	return overlay.Merge([]overlay.Layer{o.layer, {Root: base}}, overlay.KeepEscaped(),
		overlay.MadeBefore("etc", "etc/live", VersionDir))
}

// neverWritten reports whether a layer holds nothing but what a boot itself puts
// there: the version file that check_vid copies.
func neverWritten(upper *tree.Node) (bool, error) {
	empty := true
	err := tree.WalkReadable(context.Background(), upper, func(path string, n *tree.Node) error {
		switch {
		case path == "lost+found" && n.Type == tree.Directory:
			return tree.SkipDir
		case n.Type == tree.Directory && (path == "" || path == "etc" || path == "etc/live" || path == VersionDir):
		case path == RootVIDFile:
		default:
			empty = false
			return fs.SkipAll
		}
		return nil
	}, func(string, error) error {
		empty = false
		return fs.SkipAll
	})
	if errors.Is(err, fs.SkipAll) {
		err = nil
	}
	return empty, err
}

// VIDs are the version ids of a base and an overlay, and what init makes of
// them.
type VIDs struct {
	Base, Overlay VID
	State         VIDState
}

// VIDState is what init's check_vid finds.
type VIDState string

// The states. In all but the first four init boots without the overlay.
const (
	VIDUnused      VIDState = "" // the layout has no version ids
	VIDMatch       VIDState = "match"
	VIDNone        VIDState = "none"     // neither has one
	VIDUnstamped   VIDState = "empty"    // the overlay is empty: init stamps it
	VIDMismatch    VIDState = "mismatch" // they differ
	VIDMissing     VIDState = "missing"  // the overlay is not empty, but has none
	VIDBaseMissing VIDState = "base has none"
	VIDNoOverlay   VIDState = "no overlay"
)

// Used reports whether a boot uses the overlay.
func (s VIDState) Used() bool {
	return s == VIDUnused || s == VIDMatch || s == VIDNone || s == VIDUnstamped
}

// VIDs reads the version ids.
func (l *Live) VIDs() (VIDs, error) {
	var v VIDs
	if !l.Layout.Traits().VersionIDs {
		return v, nil
	}
	text, err := ReadVersionFile(l.Base.Root, BaseVIDFile)
	if err != nil {
		return v, fmt.Errorf("linuxfs: %w", err)
	}
	v.Base = ParseVID(text)
	if l.Overlay == nil {
		v.State = VIDNoOverlay
		return v, nil
	}
	if text, err = ReadVersionFile(l.Overlay.Upper, RootVIDFile); err != nil {
		return v, fmt.Errorf("%s: %w", l.Files.Overlay[0], err)
	}
	v.Overlay = ParseVID(text)
	switch {
	case v.Base != "" && v.Overlay != "":
		v.State = VIDMismatch
		if v.Base == v.Overlay {
			v.State = VIDMatch
		}
	case v.Base != "":
		empty, err := looksEmpty(l.Overlay.Upper)
		if err != nil {
			return v, fmt.Errorf("%s: %w", l.Files.Overlay[0], err)
		}
		v.State = VIDMissing
		if empty {
			v.State = VIDUnstamped
		}
	case v.Overlay != "":
		v.State = VIDBaseMissing
	default:
		v.State = VIDNone
	}
	return v, nil
}

// looksEmpty follows check_vid: no name in the layer's root contains etc, bin,
// lib, var or usr.
func looksEmpty(upper *tree.Node) (bool, error) {
	if upper == nil {
		return true, nil
	}
	kids, bad, err := upper.Readable()
	if err != nil {
		return false, err
	}
	for _, b := range bad {
		kids = append(kids[:len(kids):len(kids)], &tree.Node{Name: b.Name})
	}
	for _, k := range kids {
		if vidNames.MatchString(k.Name) {
			return false, nil
		}
	}
	return true, nil
}

func (antiX) openAlone(e *job.Env, l *Live, path string, _ probe.Kind) error {
	return l.openBase(e, path, AntixBase)
}

func (antiX) check(_ context.Context, _ *job.Env, l *Live, to *Intent) error {
	vids, err := l.VIDs()
	if err != nil {
		return err
	}
	if !vids.State.Used() && vids.State != VIDNoOverlay && !to.Force {
		return refusal.New(refusal.UnmatchedVersion, "the rootfs was written over another linuxfs, and a boot ignores it; if you know "+
			"that it belongs to this one, use "+say.Force,
			"%s: the version ids of linuxfs (%s) and %s (%s) do not match", l.Dir, OrNone(vids.Base), l.Files.Overlay[0],
			OrNone(vids.Overlay))
	}
	if to.ReadOnly {
		return nil
	}
	if name := l.Pending(AntixBase, l.Files.Overlay[0]); name != "" {
		return refusal.New(refusal.Pending, "boot once so that it is taken up, or remove the .new files",
			"%s: %s is pending: the next boot would take it up", l.Dir, name)
	}
	if to.Stage {
		for _, name := range []string{AntixBase + ".old", AntixBase + ".bad"} {
			if hostdisk.Exists(filepath.Join(l.Dir, name)) {
				return refusal.New(refusal.InTheWay, "move it away, or compact without "+say.Stage,
					"%s: %s is there, and a boot takes up a staged linuxfs only where it is not", l.Dir, name)
			}
		}
	}
	return nil
}

// system stamps the new base with a version id of its own.
func (antiX) system(_ context.Context, l *Live, merged *tree.Node, s Stamp) (*tree.Node, Version, error) {
	old, err := ReadVersionFile(l.Base.Root, BaseVIDFile)
	if err != nil {
		return nil, Version{}, err
	}
	vid := newVID(ParseVID(old), l.salted(s.State, old, s.Salt))
	v := Version{vid, versionFile(vid, old, s.Now.Time())}
	var edits tree.Edits
	for _, path := range antixDropped {
		edits.Remove(path)
	}
	stamp := tree.NewFile("", 0o644, v.Text)
	stamp.Mtime = s.Now
	edits.Put(BaseVIDFile, stamp)
	root, err := edits.Apply(merged)
	return root, v, err
}

// StagedAlong are the files that a boot sets aside when it takes up a staged
// linuxfs, unless there is a .new of them: what it copies into the system, and,
// where another set is staged for, the default set's rootfs (initrd/init:
// do_remaster, MAKE_OLD). They are staged as they are.
func (l *Live) StagedAlong() (names []string) {
	if !l.Layout.Traits().Stages {
		return nil
	}
	along := AntixFollow
	if l.Set != "" && l.Set != DefaultSet {
		along = append(slices.Clone(along), AntixRoot)
	}
	for _, name := range along {
		if hostdisk.Exists(filepath.Join(l.Dir, name)) {
			names = append(names, name)
		}
	}
	return names
}

// stage puts the .new files in place; linuxfs.new, which a boot looks for,
// comes last.
func (antiX) stage(l *Live, made map[string]string) []swap.Step {
	var steps []swap.Step
	for _, name := range l.StagedAlong() {
		if hostdisk.Exists(filepath.Join(l.Dir, name+".new")) {
			steps = append(steps, swap.Remove{Path: name + ".new"})
		}
		steps = append(steps, swap.Copy{From: name, To: name + ".new"})
	}
	name := l.Files.Overlay[0]
	if root := made[name]; root != "" {
		steps = append(steps, swap.Replace{New: root, Target: name + ".new"})
	}
	return append(steps,
		swap.Replace{New: made[antixInfo], Target: antixInfo},
		swap.Replace{New: made[antixMD5], Target: antixMD5 + ".new"},
		swap.Replace{New: made[AntixBase], Target: AntixBase + ".new"})
}

// places finds the files of persistence: beside linuxfs, or on another partition
// in a directory of that name, where init looks with pdev=, puuid= or plab=
// (initrd/init: mount_persist_device).
func (a antiX) places(s *search, f *Found) error {
	o, err := s.named(f.Dir)
	if err != nil {
		return err
	}
	if o != nil {
		if IsDir(s.at, filepath.Join(f.Dir, o.name)) {
			in := path.Join(o.name, AntixRoot)
			if !IsFile(s.at, filepath.Join(f.Dir, in)) {
				return refusal.New(refusal.NotFound, "name the file", "%s: there is no %s in it", o.where.Path, AntixRoot)
			}
			o.name, o.partition = in, false
		}
		f.overlay = *o
	}
	if f.overlay.name != "" {
		f.Files.Overlay = []string{f.overlay.name}
	}
	if f.overlay.name != "" || s.hasEither(f.Dir, AntixRoot) {
		return nil
	}
	return a.elsewhere(s, f)
}

// elsewhere looks for a rootfs on the other partitions of the stick.
func (antiX) elsewhere(s *search, f *Found) error {
	dirs := []string{path.Base(f.Dir)}
	if at, ok := s.at.(Tree); ok && f.Dir == at.Name || s.at == Place(Host{}) {
		dirs = []string{"antiX"}
	}
	for _, one := range sure(s.menus(filepath.Dir(f.Dir)).says(func(b *bootEntry) (string,
		bool) {
		return b.value("pdir", "persistdir")
	})) {
		dirs = append(dirs, trimPath(one.value))
	}
	var found []overlayAt
	for _, n := range s.neighbours(f.Dir) {
		for _, dir := range dirs {
			at := filepath.Join(n.Root, dir, AntixRoot)
			if n.Root == "" || !IsFile(s.at, at) {
				continue
			}
			where := Where{Path: n.Name + ":/" + path.Join(dir, AntixRoot),
				Source: "init takes it with pdev=, puuid= or plab= and that partition"}
			o, err := s.beside(f, &n, at, overlayAt{where: where})
			if err != nil {
				return err
			}
			if o != nil {
				found = append(found, *o)
			}
		}
	}
	o, err := choose(f.Dir, found)
	if err != nil || o == nil {
		return err
	}
	f.overlay = *o
	f.Files.Overlay = []string{o.name}
	return nil
}

func (antiX) Medium(l *Live) Medium {
	root, name := l.AboveDir()
	const dir = "antiX"
	f := Medium{Root: root, Base: dir + "/" + AntixBase}
	own := []string{"vmlinuz*", "initrd*.gz*", "initrd*.xz*", "initrd*.img*", "memtest*", "linuxfs.ver", "delete.list"}
	for i := range own {
		own[i] = path.Join(literally(name), own[i])
	}
	f.Own, f.Whole = own, []string{"version"}
	if name != dir {
		f.Rename = [2]string{name, dir}
	}
	for _, c := range l.Files.Companions {
		if c.List == nil {
			c.Name = dir + "/" + c.Name
			f.Sidecars = append(f.Sidecars, c)
		}
	}
	in := literally(name)
	f.Missed = []Missed{{[]string{path.Join(in, "xtra"), path.Join(in, "xtra.tgz"), path.Join(in, "deb")},
		"a boot puts what is in it into the system, which the ISO lacks", true}}
	f.Kernels = []string{dir + "/vmlinuz", dir + "/vmlinuz[0-9]"}
	f.Initrds = []string{dir + "/initrd.gz", dir + "/initrd[0-9].gz", dir + "/initrd*"}
	// With another word than this, which live-usb-maker writes for an encrypted stick,
	// init looks for an encrypted volume alone (ENCRYPT_MODE_FILE). live/xtra is what
	// unpack-initrd --xtra puts there.
	f.InitrdFiles, f.InitrdPrivate = map[string]string{"etc/encrypt": "disable"}, []string{"live/xtra/"}
	// init finds another disk by itself, but not where it is told of one.
	f.Machine = menu.Machine(l.Layout.Traits().Key)
	f.Arguments = func(string, string) []string { return []string{"quiet"} }
	return f
}

func (antiX) bootDirs(*Found) []string { return []string{"."} }

// belowRoot: the live directory is one at the root of the medium.
func (antiX) belowRoot(*Found) bool { return true }
