package live

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/overlay"
	"relive/remaster/job"
	"relive/remaster/menu"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
)

// casper is the layout of Ubuntu's live media: images in casper/, stacked by
// their names (a < a.b < a.b.c) where the boot is told of a stack, and
// persistence in a partition or file named writable or, older, casper-rw
// (casper: scripts/casper, scripts/casper-helpers).
//
// A compaction makes the topmost image of the stack anew and leaves the others
// alone, which other stacks may use as well.
type casper struct{}

// Files of the layout.
const (
	casperDir  = "casper"
	casperLive = ".live.squashfs"
	casperHome = "home-rw"
	// casperUpper and casperWork are the directories of overlayfs.
	casperUpper = "upper"
	casperWork  = "work"
)

// casperOverlays are the names of the overlay, the present one first.
var casperOverlays = []string{"writable", "casper-rw"}

// casperKinds are the extensions of images in the order in which casper stacks
// all that are there (scripts/casper: setup_overlay), and casperSkipped those that
// it leaves out.
var (
	casperKinds   = []string{".ext2", ".squashfs", ".dir"}
	casperSkipped = []string{"ltsp.squashfs", "server.squashfs"}
)

// Name implements Layout.
func (casper) Name() string { return "casper" }

// Traits implements Layout.
func (casper) Traits() Traits {
	return Traits{
		Key: "casper", Identity: ".disk/casper-uuid", LiveUIDs: []uint32{999, 1000}, // scripts/casper-bottom/25adduser: 1000 since 1.479
		StackStays: true, HomeLabel: casperHome,
		OtherSets: "the boot argument persistent-path= names another directory; " + say.Overlay + " names the one that is meant",
	}
}

func (c casper) find(s *search, dir string) (*Found, error) {
	stack, err := c.stack(s, dir)
	if err != nil || len(stack) == 0 {
		return nil, err
	}
	f := &Found{Dir: dir, Files: Files{Home: casperHome}}
	for _, name := range stack {
		f.Files.Stack = append(f.Files.Stack, filepath.Join(casperDir, name))
	}
	f.Files.Base = f.Files.Stack[len(stack)-1]
	f.ToRAM = s.menus(dir).toRAM()
	return f, c.places(s, f)
}

// stack names the images that a medium boots, the bottom first. The argument
// layerfs-path= of the menus or, without it, a file in the initrd names the topmost
// of several; without both casper stacks all that are there. Where nothing tells,
// it is the only stack, or the one that ends in .live.
func (c casper) stack(s *search, dir string) ([]string, error) {
	in := filepath.Join(dir, casperDir)
	present, err := imagesIn(s.at, in, "", casperKinds...)
	if err != nil {
		return nil, err
	}
	names := present
	if s.generation != "" {
		if names, err = imagesIn(s.at, in, s.generation, casperKinds...); err != nil {
			return nil, err
		}
	}
	squashes := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !isSquash(n) })
	if len(squashes) == 0 {
		return nil, nil
	}
	if s.generation != "" {
		// The former state is of the stack that there is now.
		top, err := casperTop(dir, squashes)
		if err != nil {
			return nil, err
		}
		return casperBelow(top, present), nil
	}
	top, told := c.layerfs(s, dir)
	switch {
	case top != "" && slices.Contains(present, top):
		return casperBelow(top, present), nil
	case top != "":
		return nil, refusal.New(refusal.NotFound, "restore it", "%s: the boot's stack ends with %s, which is not there", in, top)
	case told:
		return casperAll(present)
	case len(squashes) < len(present):
		return casperAll(present)
	}
	if top, err = casperTop(dir, squashes); err != nil {
		return nil, err
	}
	return casperBelow(top, present), nil
}

// layerfs returns the topmost image of the stack that a boot is told of. told: it is
// known what a boot is told, which may be nothing.
func (casper) layerfs(s *search, dir string) (top string, told bool) {
	said := sure(s.menus(dir).says(func(b *bootEntry) (string, bool) { return b.value("layerfs-path") }))
	if len(said) == 1 {
		return path.Base(said[0].value), true
	}
	for _, initrd := range s.initrds(filepath.Join(dir, casperDir)) {
		for line := range strings.Lines(s.initrdFile(initrd, "conf/conf.d/default-layer.conf")) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "LAYERFS_PATH="); ok {
				return strings.Trim(v, `"'`), true
			}
		}
		if s.initrdFile(initrd, "scripts/casper") != "" {
			told = true
		}
	}
	return "", told && len(said) == 0
}

// casperAll is the stack of a boot that is told of none: all images, by their kind
// and their names. The topmost has to be a SquashFS image, which can be made anew.
func casperAll(present []string) (stack []string, err error) {
	for _, ext := range casperKinds {
		for _, name := range present {
			if path.Ext(name) == ext && !slices.Contains(casperSkipped, name) {
				stack = append(stack, name)
			}
		}
	}
	if n := len(stack); n > 0 && !isSquash(stack[n-1]) {
		return nil, refusal.New(refusal.UnsupportedForm, "move it away, or make one image of both",
			"%s: a boot stacks it above the SquashFS images, and only those can be made anew", path.Join(casperDir, stack[n-1]))
	}
	return stack, nil
}

// casperBelow is the stack that ends with an image: those that its name begins
// with, up to a dot.
func casperBelow(top string, present []string) (stack []string) {
	parts := strings.Split(strings.TrimSuffix(top, ".squashfs"), ".")
	for i := 1; i <= len(parts); i++ {
		name := strings.Join(parts[:i], ".") + ".squashfs"
		if name == top || slices.Contains(present, name) {
			stack = append(stack, name)
		}
	}
	return stack
}

// casperTop names the topmost image of the only stack, or of the one that ends in
// .live.
func casperTop(dir string, names []string) (string, error) {
	var tops []string
	for _, name := range names {
		stem := strings.TrimSuffix(name, "squashfs") // with the dot
		if !slices.ContainsFunc(names, func(o string) bool { return o != name && strings.HasPrefix(o, stem) }) &&
			!slices.Contains(casperSkipped, name) {
			tops = append(tops, name)
		}
	}
	if len(tops) > 1 {
		live := slices.DeleteFunc(slices.Clone(tops), func(n string) bool { return !strings.HasSuffix(n, casperLive) })
		if len(live) == 1 {
			tops = live
		}
	}
	switch len(tops) {
	case 0:
		return names[0], nil
	case 1:
		return tops[0], nil
	}
	return "", refusal.New(refusal.Ambiguous, "move the others away, with the images below them that are not shared",
		"%s: there are %d stacks of images, and only the boot's arguments (layerfs-path=) tell which is used: %s",
		filepath.Join(dir, casperDir), len(tops), strings.Join(tops, ", "))
}

func (c casper) open(_ context.Context, e *job.Env, l *Live) error {
	if err := l.openStack(e, l.Files.Stack); err != nil {
		return damageHint(err, say.Verify+" tells more of an image")
	}
	if l.overlay.name != "" {
		if err := l.openCasperOverlay(); err != nil {
			return err
		}
	}
	return nil
}

// casperOwn are what casper itself keeps beside upper and work, and leaves where it
// is (setup_auto_log_persistence, setup_overlay).
func casperOwn(name string) bool {
	return name == "lost+found" || name == "log" || name == "crash" || strings.HasPrefix(name, "install-logs-")
}

// openCasperOverlay opens the persistence: upper and work in a file system or
// directory, or with older releases a layer of aufs.
func (l *Live) openCasperOverlay() error {
	at := filepath.Join(l.Dir, l.overlay.name)
	if !l.overlay.partition && IsDir(l.Place, at) {
		return l.openCasperDirectory(at)
	}
	path := at
	suffix := ""
	if l.overlay.partition {
		suffix = l.Generation + l.overlayOf
	} else if path = l.Path(l.overlay.name); !Has(l.Place, path) {
		return nil
	}
	root, err := l.openPersistence(path)
	if err != nil {
		return err
	}
	aufs, empty, err := casperForm(root)
	if err != nil {
		return fmt.Errorf("%s: %w", l.Rel(path), err)
	}
	if aufs {
		o := l.Overlay
		layer, err := aufsLayer(root, true)
		if err != nil {
			return err
		}
		o.Form, o.Upper, o.AtRoot = FormAufs, layer.Root, true
		return l.lay(o, layer)
	}
	if empty {
		l.Overlay.UpperDir, l.Overlay.WorkDir = casperUpper, casperWork
		return nil
	}
	return l.openImageOverlay(path, casperUpper+suffix, casperWork+suffix)
}

// casperForm tells a layer of aufs, and an overlay that was never written.
func casperForm(root *tree.Node) (aufs, empty bool, err error) {
	kids, bad, err := root.Readable()
	if err != nil || len(bad) > 0 {
		return false, false, err
	}
	if !slices.ContainsFunc(kids, func(k *tree.Node) bool { return !casperOwn(k.Name) }) {
		return false, true, nil
	}
	if aufs, err := isAufs(root); aufs || err != nil {
		return aufs, false, err
	}
	if n, err := DirectoryAt(root, casperUpper); n != nil || err != nil {
		return false, false, err
	}
	found, err := overlay.Detect(root)
	return err == nil && found.Form == overlay.Aufs, false, err
}

// openCasperDirectory opens the persistence of a partition that is mounted.
func (l *Live) openCasperDirectory(at string) error {
	upper, work := filepath.Join(at, casperUpper), filepath.Join(at, casperWork)
	suffix := l.Generation + l.overlayOf
	if IsDir(l.Place, upper+suffix) {
		return l.openDirOverlay(upper+suffix, work+suffix)
	}
	root, err := l.Place.Directory(at)
	if err != nil {
		return err
	}
	aufs, empty, err := casperForm(root)
	if err != nil {
		return fmt.Errorf("%s: %w", l.Rel(at), err)
	}
	if aufs {
		return refusal.New(refusal.UnsupportedForm, "unmount it, and give the stick", "%s: is a layer of aufs in a directory; only an "+
			"image of one can be read", at)
	}
	if empty || suffix != "" {
		l.Overlay = &Overlay{Path: at, Form: FormOverlayFS, Empty: true}
	}
	return nil
}

func (casper) openAlone(e *job.Env, l *Live, path string, _ probe.Kind) error {
	return l.openBase(e, path)
}

func (casper) check(context.Context, *job.Env, *Live, *Intent) error { return nil }

func (casper) system(ctx context.Context, l *Live, merged *tree.Node, _ Stamp) (*tree.Node, Version, error) {
	if len(l.Stack) > 1 {
		var err error
		merged, err = l.ownLayer(ctx, merged)
		return merged, Version{}, err
	}
	return merged, Version{}, nil
}

// places finds the persistence that a boot uses, and the homes: a partition of
// that label, or on FAT a file, in the directory that persistent-path= names
// (casper-helpers: find_cow_device).
func (c casper) places(s *search, f *Found) error {
	c.copied(s, f)
	if err := c.homes(s, f); err != nil {
		return err
	}
	o, err := s.named(f.Dir)
	if err != nil {
		return err
	}
	if o == nil {
		if o, err = c.overlay(s, f); err != nil || o == nil {
			return err
		}
	}
	at := filepath.Join(f.Dir, o.name)
	switch {
	case o.partition || !IsDir(s.at, at):
		f.use(o)
	default:
		f.use(o, casperUpper, casperWork)
		f.Files.Overlay = slices.DeleteFunc(f.Files.Overlay, func(name string) bool { return !s.hasEither(f.Dir, name) })
	}
	return nil
}

// casperWay is how an entry of the menus has casper look for persistence.
type casperWay struct{ path, entry string }

func casperWays(m *bootMenus) (ways []casperWay) {
	for _, one := range sure(m.says(func(b *bootEntry) (string, bool) {
		v, _ := b.value("persistent-path")
		return trimPath(v), b.has("persistent") && !b.has("nopersistent")
	})) {
		ways = append(ways, casperWay{one.value, one.entry})
	}
	return ways
}

func (c casper) overlay(s *search, f *Found) (*overlayAt, error) {
	ways := casperWays(s.menus(f.Dir))
	told := len(ways) > 0
	if !told {
		ways = []casperWay{{}}
	}
	var partitions, files []overlayAt
	for _, n := range s.neighbours(f.Dir) {
		if !n.called(casperOverlays...) {
			continue
		}
		where := Where{Path: n.Name, Source: n.by(casperOverlays...)}
		if n.mounted && sameFile(n.Root, filepath.Join(f.Dir, n.Label)) {
			partitions = append(partitions, overlayAt{name: n.Label, where: where})
			continue
		}
		o, err := s.beside(f, &n, n.Root, overlayAt{partition: true, where: where})
		if err != nil {
			return nil, err
		}
		if o != nil {
			partitions = append(partitions, *o)
		}
	}
	for _, w := range ways {
		found := false
		for _, label := range casperOverlays {
			name := path.Join(w.path, label)
			at := filepath.Join(f.Dir, name)
			switch {
			case IsDir(s.at, at):
				if len(partitions) == 0 {
					partitions = append(partitions, overlayAt{name: name, where: c.where(name, w)})
				}
				found = true
			case IsFile(s.at, at+s.generation):
				found = true
				if why := c.ignores(s, f, label); why != "" {
					f.unused(Unused{Path: name, Why: why, Hint: say.Overlay + " names it all the same"})
					continue
				}
				if len(partitions) > 0 {
					f.unused(Unused{Path: name, Why: "a boot ignores it: " + partitions[0].where.Path + " is taken before a file",
						Hint: say.Overlay + " names it all the same"})
					continue
				}
				files = append(files, overlayAt{name: name, where: c.where(name, w)})
			}
		}
		if !found && w.path != "" && len(partitions) == 0 {
			f.unused(Unused{Path: w.path, Boots: true, Why: w.entry + " boots with persistent-path=" + w.path +
				", and there is no persistence in it", Hint: "name the one that is meant with " + say.Overlay})
		}
	}
	if told && !slices.ContainsFunc(ways, func(w casperWay) bool { return w.path == "" }) {
		for _, label := range casperOverlays {
			if IsFile(s.at, filepath.Join(f.Dir, label)) {
				f.unused(Unused{Path: label, Why: "no entry of the menus boots with it: " + ways[0].entry + " has persistent-path=" +
					ways[0].path, Hint: say.Overlay + " names it"})
			}
		}
	}
	if len(partitions) > 0 {
		return choose(f.Dir, partitions)
	}
	return choose(f.Dir, files)
}

func (casper) where(name string, w casperWay) Where {
	if w.entry == "" {
		return Where{}
	}
	text := w.entry + " boots with persistent"
	if w.path != "" {
		text += " persistent-path=" + w.path
	}
	return Where{Path: name, Source: text}
}

// ignores tells why a boot ignores a file of persistence, "" where it takes it or
// nothing tells.
func (casper) ignores(s *search, f *Found, label string) string {
	if kind := s.mediumKind(f.Dir); kind != "" && kind != "vfat" && kind != "fat" {
		return "a boot ignores it: casper takes a file on FAT only, and this is " + kind
	}
	if label != casperOverlays[0] {
		for _, initrd := range s.initrds(filepath.Join(f.Dir, casperDir)) {
			text := s.initrdFile(initrd, "scripts/casper") + s.initrdFile(initrd, "scripts/casper-helpers")
			if strings.Contains(text, casperOverlays[0]) {
				return "a boot ignores it: casper, which is in " + filepath.Base(initrd) + ", looks for " + casperOverlays[0]
			}
		}
	}
	return ""
}

// homes finds the image of homes.
func (casper) homes(s *search, f *Found) error {
	if s.home != "" {
		return nil
	}
	for _, n := range s.neighbours(f.Dir) {
		if !n.called(casperHome) {
			continue
		}
		if n.Root == "" || n.mounted {
			f.unused(Unused{Path: n.Name, Why: "a boot mounts it at /home (" + n.by(casperHome) + ")", Hint: "name it with " + say.Home})
			continue
		}
		name, err := s.dirOf(f.Dir, n.Root)
		if err != nil {
			return err
		}
		f.Files.Home, f.home = name, overlayAt{name: name, partition: true, where: Where{Path: n.Name, Source: n.by(casperHome)}}
		return nil
	}
	for _, w := range casperWays(s.menus(f.Dir)) {
		if name := path.Join(w.path, casperHome); w.path != "" && IsFile(s.at, filepath.Join(f.Dir, name)) {
			f.Files.Home = name
		}
	}
	return nil
}

// copied tells of the snapshots that casper copies into memory at a boot.
func (casper) copied(s *search, f *Found) {
	names, err := s.at.List(f.Dir)
	if err != nil {
		return
	}
	for _, name := range names {
		if strings.HasPrefix(name, "casper-sn") || strings.HasPrefix(name, "home-sn") {
			f.unused(Unused{Path: name, Why: "a boot copies its files into the running system (casper's try_snap), where a new base " +
				"would not have them"})
		}
	}
}

func (casper) Medium(l *Live) Medium {
	// Which of the stack's images are booted, arguments and files in the initrd
	// tell. So all of them stay, by name: the lowest is the new base, and nothing
	// is in the others.
	f := Medium{Root: l.Absolute(), Base: l.Files.Stack[0], EmptyImages: l.Files.Stack[1:]}
	f.Own = []string{casperDir + "/vmlinuz*", casperDir + "/initrd*", casperDir + "/hwe-vmlinuz*", casperDir + "/hwe-initrd*",
		l.Layout.Traits().Identity + "*"}
	f.Own = append(f.Own, casperDir+"/*.manifest-*") // which packages an installer takes out
	f.Whole = []string{"dists", "pool", "install", "preseed", "pics", "README.diskdefines", "ubuntu"}
	f.Sidecars = besideStack(l)
	f.Missed = []Missed{
		{[]string{casperDir + "/install-sources.yaml"},
			"it tells the installer of images that are one on the ISO, whose installer finds nothing to install without it", false},
		{[]string{casperDir + "/*.squashfs"}, "it lies over the former images, such as those of a language, which are one on the ISO",
			false},
		{[]string{"casper-sn*", "home-sn*"}, "a boot copies it into the system, which the ISO lacks", true},
	}
	f.Kernels = []string{casperDir + "/vmlinuz", casperDir + "/vmlinuz.efi", casperDir + "/vmlinuz*", casperDir + "/hwe-vmlinuz*"}
	f.Initrds = []string{casperDir + "/initrd", casperDir + "/initrd.*", casperDir + "/initrd*", casperDir + "/hwe-initrd*"}
	f.Arguments = func(string, string) []string { return []string{"boot=casper", "quiet"} }
	f.Machine = menu.Machine(l.Layout.Traits().Key)
	return f
}

func (casper) bootDirs(*Found) []string { return []string{casperDir} }

func (casper) belowRoot(*Found) bool { return false }
