package live

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"relive/overlay"
	"relive/remaster/job"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/tree"
)

// casper is the layout of Ubuntu's live media: casper/*.squashfs, stacked by
// their names (a < a.b < a.b.c), and persistence in a file named writable or,
// older, casper-rw (casper: scripts/casper).
//
// A compaction makes the topmost image of the stack anew and leaves the others
// alone, which other stacks may use as well.
type casper struct{}

// Files of the layout.
const (
	casperDir  = "casper"
	casperLive = ".live.squashfs"
	casperHome = "home-rw"
)

var casperOverlays = []string{"writable", "casper-rw"}

// Name implements Layout.
func (casper) Name() string { return "casper" }

// Traits implements Layout.
func (casper) Traits() Traits {
	return Traits{
		Key: "casper", Identity: ".disk/casper-uuid", LiveUIDs: []uint32{999, 1000}, // scripts/casper-bottom/25adduser: 1000 since 1.479
		StackStays: true, HomeLabel: casperHome,
		OtherSets: "the boot argument persistent-path= names another directory; relive takes the file at the root of the medium",
	}
}

func (casper) find(at Place, dir, generation string) (*Found, error) {
	present, err := squashImages(at, filepath.Join(dir, casperDir), "")
	if err != nil {
		return nil, err
	}
	top, err := casperTop(at, dir, present, generation)
	if err != nil || top == "" {
		return nil, err
	}
	f := &Found{Dir: dir, Files: Files{Base: filepath.Join(casperDir, top), Home: casperHome}}
	parts := strings.Split(strings.TrimSuffix(top, ".squashfs"), ".")
	for i := 1; i <= len(parts); i++ {
		name := strings.Join(parts[:i], ".") + ".squashfs"
		if name == top || slices.Contains(present, name) {
			f.Files.Stack = append(f.Files.Stack, filepath.Join(casperDir, name))
		}
	}
	for _, name := range casperOverlays {
		if IsFile(at, filepath.Join(dir, name+generation)) {
			f.Files.Overlay = append(f.Files.Overlay, name)
		}
	}
	if len(f.Files.Overlay) > 1 {
		return nil, refusal.New("move away the one that is not used", "%s: there are both %s", dir, strings.Join(f.Files.Overlay, " and "))
	}
	return f, nil
}

// casperTop names the topmost image of the stack that a medium boots. The
// boot's arguments (layerfs-path=) decide it; where only one stack is there, or
// one that ends in .live, it is that.
func casperTop(at Place, dir string, present []string, generation string) (string, error) {
	names := present
	if generation != "" {
		var err error
		if names, err = squashImages(at, filepath.Join(dir, casperDir), generation); err != nil {
			return "", err
		}
	}
	var tops []string
	for _, name := range names {
		stem := strings.TrimSuffix(name, "squashfs") // with the dot
		if !slices.ContainsFunc(names, func(o string) bool { return o != name && strings.HasPrefix(o, stem) }) {
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
		return "", nil
	case 1:
		return tops[0], nil
	}
	return "", refusal.New("move the others away, with the images below them that are not shared", "%s: there are %d stacks of images, and only the boot's arguments (layerfs-path=) tell which is used: %s",
		filepath.Join(dir, casperDir), len(tops), strings.Join(tops, ", "))
}

func (casper) open(_ context.Context, e *job.Env, l *Live) error {
	var paths []string
	for i, name := range l.Files.Stack {
		path := filepath.Join(l.Dir, name)
		if i == len(l.Files.Stack)-1 {
			path = l.Path(name) // only this one has generations
		}
		paths = append(paths, path)
	}
	if err := l.openStack(e, paths, len(paths)-1); err != nil {
		return damageHint(err, "relive verify tells more of an image")
	}
	if len(l.Files.Overlay) > 0 {
		path := l.Path(l.Files.Overlay[0])
		if Has(l.Place, path) {
			if err := l.openCasperOverlay(path); err != nil {
				return err
			}
		}
	}
	if l.Generation == "" {
		l.OpenHome(casperHome)
	}
	return nil
}

// openCasperOverlay opens the persistence: upper and work in an ext image, or
// with older releases a layer of aufs.
func (l *Live) openCasperOverlay(path string) error {
	root, err := l.openPersistence(path)
	if err != nil {
		return err
	}
	found, err := overlay.Detect(root)
	if err != nil {
		return fmt.Errorf("%s: %w", l.Rel(path), err)
	}
	if found.Form == overlay.Aufs {
		return tree.Unsupported(l.Rel(path), "root directory", "is a layer of aufs, as casper wrote it before 2014")
	}
	return l.openImageOverlay(path, "upper", "work")
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
