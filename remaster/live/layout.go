package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/exclude"
	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/sumlist"
	"relive/remaster/swap"
	"relive/tree"
)

// Layout is one way of laying out a live directory: what its files are called,
// where they are, and what the boot of that distribution makes of them.
type Layout interface {
	// Name is the layout's name for people.
	Name() string
	// Traits are what its boot does.
	Traits() Traits
	// find looks whether dir, or what is around it, is laid out in this way, and
	// gives nil where it is not. The generation of the search is appended to the name
	// of the base that is looked for: "", or ".old" for the former state.
	find(s *search, dir string) (*Found, error)
	// open fills in l.
	open(ctx context.Context, e *job.Env, l *Live) error
	// openAlone fills in the base of l from a file that holds that kind.
	openAlone(e *job.Env, l *Live, path string, kind probe.Kind) error
	// check refuses what would be unsafe for a reason of the layout's own.
	check(ctx context.Context, e *job.Env, l *Live, to *Intent) error
	// system makes the tree of a new base's system from the merged one, and the
	// version that it is stamped with.
	system(ctx context.Context, l *Live, merged *tree.Node, s Stamp) (*tree.Node, Version, error)
	// Medium tells how the system is laid out on an ISO.
	Medium(l *Live) Medium
	// bootDirs are the directories, relative to the live directory, in which
	// its boot has kernels and initrds.
	bootDirs(f *Found) []string
	// belowRoot tells whether the live directory lies in the root of its medium,
	// rather than being it.
	belowRoot(f *Found) bool
}

// Intent is what is about to be done with a live directory, as far as the rules
// of a layout ask.
type Intent struct {
	// Force goes on where the overlay seems to belong to another base.
	Force bool
	// ReadOnly: nothing in the live directory changes.
	ReadOnly bool
	// Stage: new files are left for the next boot to take up.
	Stage bool
	// Excludes leave paths out of what is read.
	Excludes []exclude.Rule
	// Repair: the merged image is wanted as it is, broken or not.
	Repair bool
}

// Check refuses what would be unsafe for a reason of the layout's own, or without
// an overlay that a boot uses.
func (l *Live) Check(ctx context.Context, e *job.Env, to Intent) error {
	if err := l.RefuseUnused(to.Force); err != nil {
		return err
	}
	return l.Layout.check(ctx, e, l, &to)
}

// Stamp is what decides the version of a new base, and the time that it has.
type Stamp struct {
	State []byte // of the overlay
	Salt  string // all else that decides the new base
	Now   tree.Time
}

// Version is what a base is told from others by, where the layout has version
// ids: the id, and the text of the file that holds it.
type Version struct {
	ID   VID
	Text []byte
}

// System makes the tree of a new base's system from the merged one, and the
// version that it is stamped with.
func (l *Live) System(ctx context.Context, merged *tree.Node, s Stamp) (*tree.Node, Version, error) {
	return l.Layout.system(ctx, l, merged, s)
}

// stager is a layout whose boot takes new files up by itself.
type stager interface {
	// stage returns the steps that leave new files for the next boot.
	stage(l *Live, made map[string]string) []swap.Step
}

// Stage returns the steps that leave new files for the next boot of a layout that
// stages. made has the temporary name for each target.
func (l *Live) Stage(made map[string]string) []swap.Step {
	return l.Layout.(stager).stage(l, made)
}

// Pending names the first file that waits for the next boot to take it up: one
// of names with .new; "" where there is none.
func (l *Live) Pending(names ...string) string {
	if !l.Layout.Traits().Stages {
		return ""
	}
	for _, name := range names {
		if name += ".new"; hostdisk.Exists(filepath.Join(l.Dir, name)) {
			return name
		}
	}
	return ""
}

// layouts are all that Find knows, the first that matches is taken.
func layouts() []Layout {
	return []Layout{antiX{}, liveOS{}, archiso{}, liveBoot{}, casper{}, liveKit{}}
}

// Found is a live directory that was found, but not opened.
type Found struct {
	// Dir is the directory that the names of files are relative to.
	Dir    string
	Layout Layout
	// Set names the persistence set that is meant, "" for the default one.
	Set   string
	Place Place
	Files Files
	// Where says where the overlay is, where that is not the ordinary place or
	// something tells of it. Unused is what looks like an overlay and is none.
	Where  Where
	Unused []Unused
	// ToRAM names an entry of the menus that copies the medium into memory, with all
	// that is kept beside; "" where none does or a boot copies its own files alone.
	ToRAM string

	overlay overlayAt
	home    overlayAt
	homes   overlayAt // a directory of homes that was named
	opts    selection
	medium  string // the root of a LiveOS medium, "" where the live directory is on none
}

// OnHost reports whether the directory is one of the host, where files can be
// replaced, and not one on a stick that is not mounted.
func (f *Found) OnHost() bool { return f.Place == Place(Host{}) }

// Find looks for a live system in the directory, or around it. Where there is
// none that is ErrNoLayout; where it cannot be told which of several is meant,
// that is a Refusal that names them.
func Find(dir string, opts ...Option) (*Found, error) { return findOnHost(dir, "", selected(opts)) }

// FindFormer is Find for a directory of which the present base may be lost.
func FindFormer(dir string, opts ...Option) (*Found, error) {
	f, err := Find(dir, opts...)
	if errors.Is(err, ErrNoLayout) {
		if g, ferr := findOnHost(dir, ".old", selected(opts)); ferr == nil {
			return g, nil
		}
	}
	return f, err
}

func findOnHost(dir, generation string, sel selection) (*Found, error) {
	st, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return nil, refusal.WithHint(fmt.Errorf("%s: not a directory", dir),
			"give the directory that holds the base and the persistence files")
	}
	f, err := find(Host{}, dir, generation, sel)
	if f != nil || err != nil {
		return f, err
	}
	if above := filepath.Dir(filepath.Clean(dir)); above != dir {
		if f, err := FindAt(Host{}, above, generation); err == nil && f != nil && strings.HasPrefix(filepath.Join(above, f.Files.Base),
			filepath.Clean(dir)+"/") {
			return nil, refusal.WithHint(fmt.Errorf("%s: %w", dir, ErrNoLayout), "it is a part of one: give "+above)
		}
	}
	if names, err := (Host{}).List(dir); err == nil {
		for _, name := range names {
			below := filepath.Join(dir, name)
			if f, err := FindAt(Host{}, below, generation); err == nil && f != nil && IsDir(Host{}, below) {
				return nil, refusal.WithHint(fmt.Errorf("%s: %w", dir, ErrNoLayout), "there is one in it: give "+below)
			}
		}
	}
	none := fmt.Errorf("%s: %w", dir, ErrNoLayout)
	if near := nearBases(dir); near != "" {
		none = fmt.Errorf("%w; %s", none, near)
	}
	return nil, refusal.WithHint(none, "an antiX or MX live directory holds a file named linuxfs, a LiveOS medium LiveOS/squashfs.img, "+
		"one of archiso arch/x86_64/airootfs.sfs, Debian live live/filesystem.squashfs, Ubuntu casper/*.squashfs, Slax slax/*.sb")
}

// FindAt looks for a live system; where there is none it gives nil.
func FindAt(at Place, dir, generation string) (*Found, error) {
	return FindSetAt(at, dir, generation, "")
}

// FindSetAt is FindAt for one of several persistence sets.
func FindSetAt(at Place, dir, generation, set string) (*Found, error) {
	return find(at, dir, generation, selection{set: set})
}

// Again looks for the same live directory in the state of another generation.
func (f *Found) Again(generation string) (*Found, error) {
	opts := f.opts
	opts.set = f.Set
	return find(f.Place, f.Dir, generation, opts)
}

func find(at Place, dir, generation string, sel selection) (*Found, error) {
	for _, layout := range layouts() {
		s := &search{selection: sel, at: at, generation: generation}
		f, err := layout.find(s, dir)
		if err != nil {
			return nil, err
		}
		if f != nil {
			if layout.Traits().Sets == NoSets && sel.set != "" && sel.set != DefaultSet && sel.set != anySet {
				return nil, refusal.New(refusal.UnsupportedLayout, layout.Traits().OtherSets, "%s: relive knows no persistence sets of %s",
					dir, layout.Name())
			}
			f.Layout, f.Place, f.opts, f.Where = layout, at, sel, f.overlay.where
			if err := s.placeHome(f); err != nil {
				return nil, err
			}
			pairs, err := f.Kernels()
			f.Files.Kernel = kernelNames(pairs)
			if err != nil {
				return nil, err
			}
			ids, err := identityNames(at, f.Dir, layout.Traits().Identity)
			if err != nil {
				return nil, err
			}
			f.Files.Kernel = append(f.Files.Kernel, ids...)
			return f, f.findCompanions(generation)
		}
	}
	return nil, nil
}

// JournalDirs are the directories in which a run on dir may have left its
// journal.
func JournalDirs(dir string) []string {
	out := []string{dir}
	if above := mediumOf(dir); above != "" {
		out = append(out, above)
	} else if maySetsLieBeside(dir) {
		out = append(out, filepath.Join(dir, ".."))
	}
	for _, layout := range layouts() {
		if w, ok := layout.(interface{ within() []string }); ok {
			for _, name := range w.within() {
				out = append(out, filepath.Join(dir, name))
			}
		}
	}
	return out
}

// Open opens the state of that generation: "" is the present one.
func (f *Found) Open(ctx context.Context, e *job.Env, generation string) (*Live, error) {
	return f.OpenAs(ctx, e, generation, "")
}

// OpenAs is open with the overlay of another generation.
func (f *Found) OpenAs(ctx context.Context, e *job.Env, generation, overlayOf string) (*Live, error) {
	l := &Live{Dir: f.Dir, Layout: f.Layout, Set: f.Set, Place: f.Place, Files: f.Files, Where: f.Where, Unused: f.Unused, ToRAM: f.ToRAM,
		root:    f.medium,
		overlay: f.overlay, home: f.home, homes: f.homes, Generation: generation, overlayOf: overlayOf}
	if err := f.Layout.open(ctx, e, l); err != nil {
		l.Close()
		return nil, err
	}
	if l.Merged == nil {
		l.Merged = l.Base.Root
	}
	if generation == "" {
		if err := l.openHomes(); err != nil {
			l.Close()
			return nil, err
		}
	}
	return l, nil
}

// Found is what was found of an opened live directory, for what looks beside it.
func (l *Live) Found() *Found {
	return &Found{Dir: l.Dir, Layout: l.Layout, Set: l.Set, Place: l.Place, Files: l.Files, medium: l.root}
}

// Files names the files of a live directory, relative to it.
type Files struct {
	Base string
	// Stack are all images of a base that is several, the bottom first; base is
	// among them.
	Stack []string
	// Companions tell of the base and are made with it, and of other files that
	// change with it.
	Companions []Companion
	// Tied are those of retired that are set aside since they are tied to the
	// bytes of an image.
	Tied []tied
	// Sums are all lists that have a sum of a file of the set, foreign those of
	// digests that are not known.
	Sums    []*sumlist.List
	Foreign []string
	// Overlay are the files and directories that are emptied when the base takes
	// their changes up.
	Overlay []string
	// Follow are renamed together with the base by what boots, so that they are
	// to exist on both sides of a roll-back.
	Follow []string
	// Retired are void above a new base.
	Retired []string
	// Kernel are the names of kernels and their initrds, and of what stands
	// beside each, whether it is there or not, and of the files by which initrds
	// know their medium. They may lie outside of the live
	// directory, on the same medium. A state that is kept has those that were
	// replaced with the base of the next.
	Kernel []string
	Home   string
}

// Together are all names that change hands together.
func (s *Files) Together() []string {
	names := []string{s.Base}
	for _, c := range s.Companions {
		names = append(names, c.Name)
	}
	// Sums beside a kernel are among its sides, and may be lists as well.
	var out []string
	for _, name := range slices.Concat(names, s.Overlay, s.Follow, s.Retired, s.Kernel) {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// has reports whether a name is one of the set's.
func (s *Files) has(name string) bool {
	return name == s.Home && name != "" || slices.Contains(s.Together(), name)
}

// Leftover is a file beside the live ones that an earlier step has left.
type Leftover struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
	Means string `json:"means"`
}

// Leftovers lists linuxfs.old and the like.
func (l *Live) Leftovers() ([]Leftover, error) {
	meaning := map[string]string{
		".old": "the state before the last change: " + say.Rollback + " brings it back",
		".bad": "set aside by a rollback",
		".bak": "set aside by an earlier rollback",
	}
	if l.Layout.Traits().Stages {
		meaning[".new"] = "staged: the next boot takes it up"
	}
	dirs := map[string]bool{}
	for _, name := range append(l.Files.Together(), l.Files.Home) {
		if name != "" {
			dirs[filepath.Dir(name)] = true
		}
	}
	out := []Leftover{}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		names, err := l.Place.List(filepath.Join(l.Dir, dir))
		if absent(err) {
			continue // what holds a partition
		}
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			ext := filepath.Ext(name)
			stem := strings.TrimSuffix(name, ext)
			means, ok := meaning[ext]
			if !ok && StemOfOld(name) != "" {
				means, ok, stem = "an older state that "+say.KeepOld+" has kept", true, StemOfOld(name)
				if !Has(l.Place, filepath.Join(l.Dir, l.Files.Base+strings.TrimPrefix(name, stem))) {
					means = "an older one that " + say.KeepOld + " has kept; no part of a former state"
				}
			}
			if !ok || !l.Files.has(filepath.Join(dir, stem)) {
				continue
			}
			former := Has(l.Place, filepath.Join(l.Dir, l.Files.Base+".old"))
			switch at := filepath.Join(dir, stem); {
			case at == l.Files.Home && ext != ".new":
				means = "former homes: rename it to bring them back"
			case ext != ".old" || at == l.Files.Base || former:
			case slices.Contains(l.Files.Overlay, at):
				means = "the overlay before the last change: " + say.Reset + " " + say.Undo + " brings it back"
			default:
				means = "the one before the last change; no part of a former state"
			}
			st, err := l.Place.Stat(filepath.Join(l.Dir, dir, name))
			if err == nil && st.dir && l.OnHost() {
				st.Size, err = hostdisk.TreeSize(filepath.Join(l.Dir, dir, name))
			}
			if err != nil {
				return nil, err
			}
			out = append(out, Leftover{filepath.Join(dir, name), st.Size, means})
		}
	}
	return out, nil
}
