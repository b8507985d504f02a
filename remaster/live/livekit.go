package live

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"relive/remaster/job"
	"relive/remaster/probe"
	"relive/remaster/say"
	"relive/tree"
)

// liveKit is the layout of the Linux Live Kit, which Slax is made with: bundles
// NAME/*.sb and NAME/modules/*.sb, SquashFS images that are stacked by the numbers
// that their names begin with, and with the argument perch sessions of changes in
// NAME/changes (Tomas-M/linux-live 9825e93, livekitlib: mount_bundles, init_union,
// persistent_changes, restore_perch_session).
//
// A compaction makes one bundle of all, the first. What lies in NAME/rootcopy is
// copied into the system at every boot, and stays.
type liveKit struct{}

// Files of the layout.
const (
	liveKitBundle   = ".sb"
	liveKitModules  = "modules"
	liveKitChanges  = "changes"
	liveKitLast     = "last_session.txt" // names the session that a boot resumes
	liveKitUpper    = "changes"          // in a session, where the kernel has no aufs
	liveKitWork     = "workdir"
	liveKitDynamic  = "changes.dat" // of a session on FAT: a container of dynfilefs with XFS in it
	liveKitRootcopy = "rootcopy"
)

// liveKitNames are the directories that a boot looks for without from=: LIVEKITNAME
// of Slax, and of the kit itself.
var liveKitNames = []string{"slax", "linux"}

// Name implements Layout.
func (liveKit) Name() string { return "Slax" }

// Traits implements Layout.
func (liveKit) Traits() Traits {
	return Traits{
		Key:       "livekit",
		OtherSets: "the boot argument perchdir= names another session; " + say.Overlay + " names the one that is meant",
	}
}

func (k liveKit) find(s *search, dir string) (*Found, error) {
	for _, in := range k.names(s, dir) {
		bundles, err := k.bundles(s, dir, in, s.generation)
		if err != nil {
			return nil, err
		}
		if len(bundles) == 0 {
			continue
		}
		f := &Found{Dir: dir, Files: Files{Base: bundles[0], Stack: bundles, Retired: slices.Clone(bundles[1:])}}
		if s.generation == "" {
			// What an earlier compaction has set aside comes back with the former state.
			former, err := k.bundles(s, dir, in, ".old")
			if err != nil {
				return nil, err
			}
			for _, name := range former {
				if !slices.Contains(bundles, name) {
					f.Files.Retired = append(f.Files.Retired, name)
				}
			}
		}
		return f, k.places(s, f, in)
	}
	return nil, nil
}

// names are the directories in which a boot looks for bundles.
func (liveKit) names(s *search, dir string) (names []string) {
	for _, name := range liveKitNames {
		if IsDir(s.at, filepath.Join(dir, name)) {
			names = append(names, name)
		}
	}
	for _, one := range sure(s.menus(dir).says(func(b *bootEntry) (string, bool) { return b.value("from") })) {
		if name := trimPath(one.value); name != "" && !strings.HasPrefix(one.value, "/dev/") && !dotted(name) &&
			IsDir(s.at, filepath.Join(dir, name)) {
			names = append(names, name)
		}
	}
	return names
}

// bundles names the bundles in the order of the stack, the bottom first.
func (liveKit) bundles(s *search, dir, in, generation string) (names []string, err error) {
	for _, at := range []string{in, path.Join(in, liveKitModules)} {
		found, err := imagesIn(s.at, filepath.Join(dir, at), generation, liveKitBundle)
		if err != nil {
			return nil, err
		}
		for _, name := range found {
			// Of two with one name the later is mounted over the earlier.
			names = slices.DeleteFunc(names, func(n string) bool { return path.Base(n) == name })
			names = append(names, path.Join(at, name))
		}
	}
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(leadingNumber(path.Base(a)), leadingNumber(path.Base(b))), cmp.Compare(path.Base(a), path.Base(b)))
	})
	return names, nil
}

var numberAtStart = regexp.MustCompile(`^[ \t]*-?[0-9]*\.?[0-9]*`)

// leadingNumber is what "sort -n" compares a name by: the number at its beginning,
// or 0.
func leadingNumber(name string) float64 {
	n, err := strconv.ParseFloat(strings.TrimSpace(numberAtStart.FindString(name)), 64)
	if err != nil {
		return 0
	}
	return n
}

// places finds the session that a boot resumes.
func (k liveKit) places(s *search, f *Found, in string) error {
	o, err := s.named(f.Dir)
	if err != nil {
		return err
	}
	m := s.menus(f.Dir)
	perch := func(b *bootEntry) bool { _, value := b.value("perch"); return value || b.has("perch") }
	if o == nil {
		session := k.session(s, f, in, m)
		if session == "" {
			return nil
		}
		name := path.Join(in, liveKitChanges, session)
		if len(m.entries) > 0 && !slices.ContainsFunc(m.entries, func(b bootEntry) bool { return perch(&b) }) {
			f.unused(Unused{Path: name, Why: "no entry of the menus boots with perch", Hint: say.Overlay + " names it all the same"})
			return nil
		}
		o = &overlayAt{name: name, where: Where{Path: name, Source: "the session that a boot with perch resumes"}}
	}
	at := filepath.Join(f.Dir, o.name)
	switch {
	case Has(s.at, filepath.Join(at, liveKitDynamic)) || Has(s.at, filepath.Join(at, liveKitDynamic+".0")):
		f.unused(Unused{Path: path.Join(o.name, liveKitDynamic), Boots: true,
			Why:  "a boot keeps the changes there, in a container of dynfilefs that holds XFS, which is not read",
			Hint: "boot from a stick with ext4, where sessions are directories, or go on with " + say.Force + " and leave it as it is"})
	case s.hasEither(f.Dir, path.Join(o.name, liveKitUpper)):
		f.use(o, liveKitUpper, liveKitWork)
	default:
		f.use(o)
	}
	return nil
}

// session is the name of the session that a boot resumes: the one that perchdir=
// names, or the last one; "" where there is none.
func (liveKit) session(s *search, f *Found, in string, m *bootMenus) string {
	changes := filepath.Join(f.Dir, in, liveKitChanges)
	names, err := s.at.List(changes)
	if err != nil {
		return ""
	}
	text, err := ReadSmall(s.at, filepath.Join(changes, liveKitLast), 1<<10)
	last := strings.TrimSpace(string(text))
	if err != nil {
		last = ""
	}
	for _, one := range sure(m.says(func(b *bootEntry) (string, bool) { return b.value("perchdir") })) {
		if IsDir(s.at, filepath.Join(changes, one.value)) && one.value != "" && !dotted(one.value) {
			last = one.value
		}
	}
	if last == "" || dotted(last) || strings.Contains(last, "/") || !IsDir(s.at, filepath.Join(changes, last)) {
		return ""
	}
	for _, name := range names {
		if name != last && name[0] >= '0' && name[0] <= '9' && !isExtra(name) && IsDir(s.at, filepath.Join(changes, name)) {
			f.unused(Unused{Path: path.Join(in, liveKitChanges, name), Why: "a boot resumes session " + last + "; with perchdir=" + name +
				" it would lay this one over the base", Hint: say.Overlay + " names it"})
		}
	}
	return last
}

func (k liveKit) open(_ context.Context, e *job.Env, l *Live) error {
	if err := l.openStack(e, l.Files.Stack); err != nil {
		return damageHint(err, say.Verify+" tells more of an image")
	}
	if len(l.Files.Overlay) == 0 {
		return nil
	}
	at := l.Path(l.Files.Overlay[0])
	switch {
	case !Has(l.Place, at):
		return nil
	case len(l.Files.Overlay) > 1:
		return l.openDirOverlay(at, l.Path(l.Files.Overlay[1]))
	}
	return l.openAufsDirectory(at)
}

// openAufsDirectory opens a directory that is a branch of aufs.
func (l *Live) openAufsDirectory(at string) error {
	root, err := l.Place.Directory(at)
	if err != nil {
		return err
	}
	layer, err := aufsLayer(root, false)
	if err != nil {
		return fmt.Errorf("%s: %w", l.Rel(at), err)
	}
	o := &Overlay{Path: at, Form: FormAufs, Upper: layer.Root}
	l.Overlay = o
	return l.lay(o, layer)
}

func (liveKit) openAlone(e *job.Env, l *Live, path string, _ probe.Kind) error {
	return l.openBase(e, path)
}

func (liveKit) check(context.Context, *job.Env, *Live, *Intent) error { return nil }

func (liveKit) system(_ context.Context, _ *Live, merged *tree.Node, _ Stamp) (*tree.Node, Version, error) {
	return merged, Version{}, nil
}

// Medium implements Layout.
func (liveKit) Medium(l *Live) Medium {
	in := path.Dir(l.Files.Base)
	own := literally(in)
	f := Medium{Root: l.Absolute(), Base: l.Files.Base}
	f.Own = []string{own + "/boot"}
	f.Whole = []string{own + "/" + liveKitRootcopy, "readme.txt"}
	f.Sidecars = besideBase(l, f.Base)
	f.Kernels = []string{own + "/boot/vmlinuz", own + "/boot/vmlinuz*"}
	f.Initrds = []string{own + "/boot/initrfs.img", own + "/boot/initr*"}
	f.Arguments = func(string, string) []string {
		args := []string{"load_ramdisk=1", "prompt_ramdisk=0", "rw"}
		if !slices.Contains(liveKitNames, in) {
			args = append(args, "from="+in)
		}
		return args
	}
	return f
}

// bootDirs: kernel and initrd lie in boot beside the bundles.
func (liveKit) bootDirs(f *Found) []string {
	return []string{path.Join(path.Dir(f.Files.Base), "boot")}
}

func (liveKit) belowRoot(*Found) bool { return false }
