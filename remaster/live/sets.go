package live

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"relive/remaster/hostdisk"
	"relive/remaster/nearest"
	"relive/remaster/refusal"
	"relive/remaster/say"
)

// DefaultSet is the name of the persistence files that lie beside the base.
// The other sets of antiX and MX are directories with a rootfs or homefs of
// their own, named by their path relative to the live directory: "work" lies in
// it, "../work" beside it. Those of LiveOS are the overlays of a live directory.
const DefaultSet = "default"

// Option says which of several states of a live directory is meant.
type Option func(*selection)

type selection struct{ set, overlay, home string }

// WithSet names the persistence set that takes the place of the default one; ""
// is the default one.
func WithSet(name string) Option { return func(s *selection) { s.set = name } }

// AnySet opens a live directory without regard to which of several sets is meant:
// it is for listing them.
func AnySet() Option { return WithSet(anySet) }

// WithOverlay names the file or the directory that holds the overlay, or on a
// stick that is not mounted the number of its partition and the way to it there
// ("2", "2/persistence"). "" leaves it to what the boot would use.
func WithOverlay(path string) Option { return func(s *selection) { s.overlay = path } }

// WithHome is WithOverlay for the image of homes.
func WithHome(path string) Option { return func(s *selection) { s.home = path } }

const anySet = "*"

func selected(opts []Option) (s selection) {
	for _, o := range opts {
		o(&s)
	}
	return s
}

// takeSet takes the set that the search is for: boots are told of a directory
// with pdir= (initrd/init: prepare_persistence, mount_persist_device).
func (antiX) takeSet(s *search, f *Found) (*Found, error) {
	at, dir, generation := s.at, f.Dir, s.generation
	if s.set == "" || s.set == anySet {
		return f, nil
	}
	set, err := SetName(f.Dir, s.set)
	if err != nil {
		return nil, err
	}
	if set == DefaultSet {
		return f, nil
	}
	where := filepath.Join(f.Dir, set)
	switch {
	case !IsDir(at, where):
		return nil, refusal.New(refusal.NotFound, refusal.JoinHints(nearest.DidYouMean(set, nearSets(at, f.Dir)), say.ListSets+" "+dir+
			" lists those that are there"), "%s: there is no set %s", dir, set)
	case IsFile(at, filepath.Join(where, AntixBase)):
		return nil, refusal.New(refusal.WrongKind, "give that directory itself", "%s: holds a linuxfs, and is a live directory of its own",
			where)
	case !HoldsSet(at, where, ""), generation != "" && !HoldsSet(at, where, generation):
		if !HoldsSet(at, where, ".old") && !HoldsSet(at, where, ".bad") {
			return nil, refusal.New(refusal.NotFound, say.ListSets+" "+dir+" lists the sets that are there",
				"%s: holds neither rootfs nor homefs", where)
		}
	}
	f.Set = set
	f.Files.Overlay = []string{path.Join(set, AntixRoot)}
	f.Files.Home = path.Join(set, AntixHome)
	return f, nil
}

// nearSets names the sets in a live directory and beside it.
func nearSets(at Place, dir string) (sets []string) {
	sets = append(sets, DefaultSet)
	for _, above := range []string{"", ".."} {
		names, err := at.List(filepath.Join(dir, above))
		if err != nil {
			continue // there is nothing to suggest
		}
		for _, name := range names {
			if name = path.Join(above, name); HoldsSet(at, filepath.Join(dir, name), "") {
				sets = append(sets, name)
			}
		}
	}
	return sets
}

// HoldsSet reports whether there are files of persistence in a directory.
func HoldsSet(at Place, dir, generation string) bool {
	return IsFile(at, filepath.Join(dir, AntixRoot+generation)) || IsFile(at, filepath.Join(dir, AntixHome+generation))
}

// SetName returns the name of a set: its path relative to the live directory.
func SetName(dir, name string) (string, error) {
	if name == "" || name == DefaultSet {
		return DefaultSet, nil
	}
	if filepath.IsAbs(name) {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return "", err
		}
		if name, err = filepath.Rel(abs, name); err != nil {
			return "", err
		}
	}
	name = path.Clean(name)
	// A set may be given by the way to it from above: ../antiX/work is work.
	if rest, ok := strings.CutPrefix(name, "../"+hostdisk.BaseName(dir)); ok && (rest == "" || rest[0] == '/') {
		name = path.Clean(strings.TrimPrefix(rest, "/"))
	}
	switch {
	case name == ".":
		return DefaultSet, nil
	case strings.HasSuffix(name, ".."):
		return "", refusal.New(refusal.InvalidName, "a set is a directory in the live directory or beside it",
			"%s: the live directory lies in %s", dir, name)
	}
	return name, nil
}

// newSetName are the names that a new set may have: each part is one that a
// boot's arguments, which are parted at blanks and where init expands patterns,
// leave as it is.
var newSetName = regexp.MustCompile(`^(\.\./)?[A-Za-z0-9_][A-Za-z0-9._+@-]*(/[A-Za-z0-9_][A-Za-z0-9._+@-]*)*$`)

// CheckNewSet refuses a name that a new set cannot have.
func (f *Found) CheckNewSet(name string) (string, error) {
	name, err := SetName(f.Dir, name)
	if err != nil {
		return "", err
	}
	overlays := f.Layout.Traits().Sets == SetOverlays
	parts := strings.Split(strings.TrimPrefix(name, "../"), "/")
	last := parts[len(parts)-1]
	switch {
	case name == DefaultSet || last == DefaultSet:
		return "", refusal.New(refusal.InvalidName, "give it another name", "%s: is the name of the set beside the base", DefaultSet)
	case !newSetName.MatchString(name):
		return "", refusal.WithHint(refusal.Option(fmt.Errorf("%q: no name for a set", name)), "letters, digits and ._+@- can stand in a "+
			"boot's arguments as they are; a set lies in the live directory (work) or beside it (../work)")
	case isExtra(last) || f.Files.has(name):
		return "", refusal.New(refusal.InvalidName, "give it another name", "%s: is the name of something else in %s", name, f.Dir)
	case overlays && (len(parts) > 1 || name != last || !strings.HasPrefix(name, LiveosOverlay)):
		return "", refusal.New(refusal.InvalidName, "give it a name that begins with overlay-, as "+LiveosOverlay+last,
			"%s: is no name for an overlay of LiveOS", name)
	case hostdisk.Exists(filepath.Join(f.Dir, name)):
		return "", refusal.New(refusal.OutputExists, "give it another name, or remove that one with "+say.RemoveSet, "%s: is there already",
			filepath.Join(f.Dir, name))
	}
	if above := filepath.Join(f.Dir, filepath.Dir(name)); !IsDir(f.Place, above) {
		return "", refusal.New(refusal.NotFound, "make it first", "%s: there is no such directory", above)
	}
	return name, nil
}

// maySetsLieBeside reports whether a run on a directory may have changed what lies
// beside it: there is a live directory of antiX, or what is left of one.
func maySetsLieBeside(dir string) bool {
	return slices.ContainsFunc([]string{"", ".old", ".bad", ".new"}, func(generation string) bool {
		return IsFile(Host{}, filepath.Join(dir, AntixBase+generation))
	})
}
