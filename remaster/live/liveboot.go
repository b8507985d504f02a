package live

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/job"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/tree"
)

// liveBoot is the layout of Debian live: live/*.squashfs, and persistence in a
// file or directory of that name (live-boot: 9990-overlay.sh,
// 9990-misc-helpers.sh, persistence.conf(5)).
//
// Several images are stacked, in the order of their names or of
// filesystem.module, the last on top; where the root is a persistent union,
// live-boot stacks them the other way about. A compaction makes one image of
// all, so that there is no order any more.
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

// Name implements Layout.
func (liveBoot) Name() string { return "Debian live" }

// Traits implements Layout.
func (liveBoot) Traits() Traits {
	return Traits{
		Key: "debian", Identity: ".disk/live-uuid",
		LiveUIDs: []uint32{1000}, LiveUserFiles: []string{"lib/live/config/0030-user-setup", "usr/lib/live/config/0030-user-setup"}, // live-config
		Unions:    true,
		OtherSets: "the boot arguments persistence-label= and persistence-path= name another file, partition or directory; relive takes the one named persistence at the root of the medium",
	}
}

func (liveBoot) find(at Place, dir, generation string) (*Found, error) {
	images, err := squashImages(at, filepath.Join(dir, livebootDir), generation)
	if err != nil || len(images) == 0 {
		return nil, err
	}
	f := &Found{Dir: dir, Files: Files{}}
	modules := filepath.Join(livebootDir, livebootModules)
	if b, err := ReadSmall(at, filepath.Join(dir, modules+generation), 1<<20); err == nil {
		listed := []string{}
		for _, name := range strings.Fields(string(b)) {
			if !slices.Contains(images, name) {
				return nil, refusal.New("restore it, or take it out of the list", "%s: %s names %s, which is not there", dir, modules, name)
			}
			if !slices.Contains(listed, name) {
				listed = append(listed, name)
			}
		}
		images = listed
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(images) == 0 {
		return nil, nil
	}
	own := max(0, slices.Index(images, livebootBase))
	for i, name := range images {
		name = filepath.Join(livebootDir, name)
		f.Files.Stack = append(f.Files.Stack, name)
		if i == own {
			f.Files.Base = name
		} else {
			f.Files.Retired = append(f.Files.Retired, name)
		}
	}
	// What an earlier compaction has set aside comes back with the former state,
	// or gives way to what the next one sets aside.
	names, err := at.List(filepath.Join(dir, livebootDir))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		stem, ok := strings.CutSuffix(name, ".old")
		if !ok {
			stem = StemOfOld(name)
		}
		stem = filepath.Join(livebootDir, stem)
		if generation == "" && filepath.Ext(stem) == ".squashfs" && stem != f.Files.Base && !slices.Contains(f.Files.Stack, stem) && !slices.Contains(f.Files.Retired, stem) {
			f.Files.Retired = append(f.Files.Retired, stem)
		}
	}
	if Has(at, filepath.Join(dir, modules)) {
		// Without the list a boot would take images up that are not in it.
		own := filepath.Base(f.Files.Base)
		f.Files.Companions = []Companion{{Name: modules, Text: func(Facts) string { return own + "\n" }}}
	}
	f.Files.Overlay, err = livebootOverlay(at, dir, generation)
	return f, err
}

// livebootOverlay names what a compaction makes anew of the persistence: the
// file, or of a directory the layers in it.
func livebootOverlay(at Place, dir, generation string) (names []string, err error) {
	if !IsDir(at, filepath.Join(dir, livebootPersistence)) {
		if Has(at, filepath.Join(dir, livebootPersistence+generation)) {
			names = append(names, livebootPersistence)
		}
		return names, nil
	}
	text, err := ReadSmall(at, filepath.Join(dir, livebootPersistence, livebootConf), persistenceConfMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	conf, err := parsePersistenceConf(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", livebootPersistence, err)
	}
	for _, u := range conf.unions {
		for _, name := range []string{UnionUpper, UnionWork} {
			name = filepath.Join(livebootPersistence, u.source, name)
			if (Has(at, filepath.Join(dir, name)) || Has(at, filepath.Join(dir, name+".old"))) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// persistenceConfMax bounds persistence.conf, in bytes.
const persistenceConfMax = 1 << 20

// squashImages names the SquashFS images in a directory, sorted.
func squashImages(at Place, dir, generation string) (names []string, err error) {
	if !IsDir(at, dir) {
		return nil, nil
	}
	entries, err := at.List(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e, generation)
		if ok && filepath.Ext(name) == ".squashfs" && IsFile(at, filepath.Join(dir, e)) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (liveBoot) open(_ context.Context, e *job.Env, l *Live) error {
	var unions []union
	over, inside := l.Path(livebootPersistence), ""
	if dir := filepath.Join(l.Dir, livebootPersistence); IsDir(l.Place, dir) {
		// A directory stays; the layers in it have generations.
		over, inside = dir, l.Generation+l.overlayOf
	}
	var root *tree.Node // of the persistence
	if Has(l.Place, over) {
		var err error
		if root, err = l.openPersistence(over); err != nil {
			return err
		}
		conf, err := readPersistenceConf(root)
		if err != nil {
			return fmt.Errorf("%s: %w", l.Rel(over), err)
		}
		unions, l.Overlay.Kept = conf.unions, conf.kept
		for _, b := range conf.binds {
			n, err := DirectoryAt(root, b.source)
			if err != nil {
				return fmt.Errorf("%s: %w", l.Rel(over), err)
			}
			if n != nil {
				l.Binds = append(l.Binds, bind{b.dir, n})
			}
		}
	}
	stack := l.Files.Stack
	if len(unions) > 0 && unions[0].dir == "" {
		stack = slices.Clone(stack)
		slices.Sort(stack)
		slices.Reverse(stack)
	}
	var paths []string
	for _, name := range stack {
		paths = append(paths, l.Path(name))
	}
	if err := l.openStack(e, paths, slices.Index(stack, l.Files.Base)); err != nil {
		return damageHint(err, "relive verify tells more of an image")
	}
	if root == nil {
		return nil
	}
	return l.openUnions(root, unions, inside)
}

// pathMax is Linux's PATH_MAX, in bytes with the NUL.
const pathMax = 4096

// maxUnions bounds how many directories persistence can lie over, each of which
// is a layer more that every look-up goes through.
const maxUnions = 100

// union is a directory of the system that persistence lies over.
type union struct {
	dir    string // in the system, "" for the root
	source string // in the persistence, "" for its root
}

// persistenceConf is what a persistence.conf says. Outer directories come
// before those in them.
type persistenceConf struct {
	unions, binds []union
	kept          []string // what is no union, for people
}

// readPersistenceConf reads persistence.conf: a line is a directory and its
// options. A persistence without the file is one that live-boot does not use.
func readPersistenceConf(root *tree.Node) (c persistenceConf, err error) {
	n, err := root.Child(livebootConf)
	if err != nil {
		return c, err
	}
	if n == nil || n.Type != tree.Regular {
		c.kept = []string{"there is no " + livebootConf + ", so that a boot ignores it"}
		return c, nil
	}
	text, err := tree.ReadAll(n, persistenceConfMax)
	if err != nil {
		return c, fmt.Errorf("%s: %w", livebootConf, err)
	}
	return parsePersistenceConf(text)
}

// parsePersistenceConf is readPersistenceConf for the text.
func parsePersistenceConf(text []byte) (c persistenceConf, err error) {
	s := bufio.NewScanner(bytes.NewReader(text))
	s.Buffer(nil, persistenceConfMax+1)
	for i := 1; s.Scan(); i++ {
		f := strings.Fields(s.Text())
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		place := fmt.Sprintf("%s: line %d", livebootConf, i)
		if why := unsafeMount(f[0]); why != "" {
			c.kept = append(c.kept, place+": "+tree.Escape(f[0])+" "+why+", so that a boot skips it")
			continue
		}
		if len(s.Bytes()) >= pathMax {
			c.kept = append(c.kept, place+": names a longer path than there can be, so that a boot skips it")
			continue
		}
		u := union{dir: trimPath(f[0])}
		u.source = u.dir
		kind, known := "bind", true
		for _, o := range strings.Split(strings.Join(f[1:], ","), ",") {
			switch {
			case o == "":
			case o == "union", o == "link", o == "bind":
				kind = o
			case strings.HasPrefix(o, "source="):
				source := strings.TrimPrefix(o, "source=")
				if source != "." && (strings.HasPrefix(source, "/") || dotted(source)) {
					known = false
				}
				u.source = strings.Trim(trimPath(source), ".")
			default:
				known = false
			}
		}
		switch {
		case !known:
			c.kept = append(c.kept, place+": has an option that live-boot does not take, so that a boot skips it")
		case kind == "union":
			if c.unions = append(c.unions, u); len(c.unions) > maxUnions {
				return persistenceConf{}, tree.Unsupported(livebootConf, fmt.Sprintf("line %d", i), "is one union more than %d", maxUnions)
			}
		default:
			if kind == "bind" && u.dir != "" && len(c.binds) < maxUnions {
				c.binds = append(c.binds, u)
			}
			c.kept = append(c.kept, fmt.Sprintf("/%s is a %s of persistence and stays there", u.dir, kind))
		}
	}
	for _, list := range []*[]union{&c.unions, &c.binds} {
		slices.SortStableFunc(*list, func(a, b union) int { return cmp.Compare(a.dir, b.dir) })
		*list = slices.CompactFunc(*list, func(a, b union) bool { return a.dir == b.dir })
	}
	if err := s.Err(); err != nil {
		return persistenceConf{}, fmt.Errorf("%s: %w", livebootConf, err)
	}
	return c, nil
}

// unsafeMount tells why live-boot skips a directory (get_custom_mounts), "" where
// it does not.
func unsafeMount(dir string) string {
	clean := "/" + trimPath(dir)
	switch {
	case !strings.HasPrefix(dir, "/"):
		return "is no absolute path"
	case dotted(dir):
		return "has . or .. in it"
	case strings.HasPrefix(clean, "/lib"):
		return "is in a place that begins with /lib"
	case clean == "/run/live" || strings.HasPrefix(clean, "/run/live/"):
		return "is live-boot's own"
	}
	return ""
}

// dotted tells whether a part of a path is . or ...
func dotted(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}

// trimPath takes slashes away that mean nothing, also the first.
func trimPath(path string) string {
	return strings.Join(strings.FieldsFunc(path, func(r rune) bool { return r == '/' }), "/")
}

func (liveBoot) openAlone(e *job.Env, l *Live, path string, _ probe.Kind) error {
	return l.openBase(e, path)
}

func (liveBoot) check(context.Context, *job.Env, *Live, *Intent) error { return nil }

func (liveBoot) system(_ context.Context, _ *Live, merged *tree.Node, _ Stamp) (*tree.Node, Version, error) {
	return merged, Version{}, nil
}
