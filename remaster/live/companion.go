package live

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/checksum"
	"relive/remaster/menu"
	"relive/remaster/packages"
	"relive/remaster/sumlist"
	"relive/tree"
)

// Tie says what a file beside a base has to do with the bytes of the base. What
// has nothing to do with them, or is a list of sums (see sumlist.List), has none.
type Tie struct {
	// name is a pattern: BASE at its beginning is the base's name, STEM the same
	// without its extension. "*" matches as with path.Match.
	name string
	// layout is the layout's name where only that has it, "" for all.
	layout string
	// always: it is made where there is none, too.
	always bool
	// What it is, for people.
	What string
	// Sum, text or packages say what it is made of for a new base. One that has
	// none of them is set aside with the former base.
	Sum      checksum.Kind
	text     func(Facts) string
	packages bool
}

// Ties are all that relive knows to be tied to a base. It is the one list of
// them: what makes a new base makes them anew or sets them aside, with a
// warning; what takes a base over from elsewhere takes those along that are set
// aside; what rebuilds an ISO warns of them.
//
// live-boot mounts with .verity and .roothash where they are there (9990-overlay.sh),
// and checks .roothash.p7s; archiso checks .sig and .cms.sig with verify=y and
// cms_verify=y (hooks/archiso); antiX's init compares linuxfs.md5, and takes the
// size for toram from linuxfs.info; casper and Ubuntu's installers read .size and
// .manifest.
var Ties = []Tie{
	{name: "linuxfs.md5", layout: antiX{}.Name(), always: true, What: "sum", Sum: checksum.MD5},
	{name: "linuxfs.info", layout: antiX{}.Name(), always: true, What: "size",
		text: func(f Facts) string { return fmt.Sprintf("UncompressedSizeKB=%d\n", (f.Content+1023)/1024) }},
	{name: "airootfs.sha512", layout: archiso{}.Name(), What: "sum", Sum: checksum.SHA512},
	{name: "STEM.size", What: "size", text: func(f Facts) string { return fmt.Sprintln(f.Content) }},
	{name: "STEM.manifest", What: "list of packages", packages: true},
	{name: "STEM.packages", What: "list of packages", packages: true},
	{name: "BASE.sig", What: "signature"},
	{name: "BASE.cms.sig", What: "signature"},
	{name: "BASE.cms", What: "signature"},
	{name: "BASE.asc", What: "signature"},
	{name: "BASE.gpg", What: "signature"},
	{name: "BASE.sign", What: "signature"},
	{name: "BASE.p7s", What: "signature"},
	{name: "BASE.minisig", What: "signature"},
	{name: "BASE.verity", What: "hash tree of dm-verity"},
	{name: "BASE.verity.*", What: "signature of a hash tree"},
	{name: "BASE.roothash", What: "root hash of dm-verity"},
	{name: "BASE.roothash.*", What: "signature of a root hash"},
	{name: "BASE.fec", What: "error correction of dm-verity"},
	{name: "BASE.zsync", What: "list of blocks for zsync"},
	{name: "STEM.verity", What: "hash tree of dm-verity"},
	{name: "STEM.verity.*", What: "signature of a hash tree"},
	{name: "STEM.roothash", What: "root hash of dm-verity"},
	{name: "STEM.roothash.*", What: "signature of a root hash"},
	{name: "STEM.zsync", What: "list of blocks for zsync"},
}

// insisting are the kernel arguments by which a boot insists on a companion that
// is set aside, or holds a hash of the base itself: a name alone, or with the
// beginning of its value.
var insisting = []string{
	"verify=y", "cms_verify=y", // archiso
	"dm-verity-root-hash=", "dm-verity-enforce-roothash-signature", "dm-verity-enforce-roothash-signatures=true", // live-boot
	"roothash=", "usrhash=", "rd.veritysetup=", "verity.", // systemd, and what reads its options
	"rootflags=verity.", "rd.live.verity", "dm-mod.create=",
}

// Made reports whether a new base gets a new one.
func (t *Tie) Made() bool { return t.Sum != "" || t.text != nil || t.packages }

// Matches reports whether a file is one that is tied to a base of that name,
// both in the same directory.
func (t *Tie) Matches(base, name string) bool {
	// The generations of a file are no files of their own.
	if name == base || IsAside(name) {
		return false
	}
	begins, pattern := "", t.name
	if after, ok := strings.CutPrefix(t.name, "BASE"); ok {
		begins, pattern = base, after
	} else if after, ok := strings.CutPrefix(t.name, "STEM"); ok {
		begins, pattern = sumlist.Stem(base), after
	}
	rest, ok := strings.CutPrefix(name, begins)
	if !ok {
		return false
	}
	ok, err := path.Match(pattern, rest)
	return err == nil && ok
}

// tieOf returns what ties a file to a base, both in the same directory; nil where
// nothing does. Names of "BASE" beat those of "STEM".
func tieOf(layout, base, name string) *Tie {
	for i := range Ties {
		if t := &Ties[i]; (t.layout == "" || t.layout == layout) && t.Matches(base, name) {
			return t
		}
	}
	return nil
}

// tied is a file that is set aside with the base to whose bytes it is tied.
type tied struct {
	Name, Base string
	What       string
}

// Sum returns the companion that holds the base's sum alone; false where none
// does.
func (s *Files) Sum() (Companion, bool) {
	for _, c := range s.Companions {
		if c.Sum != "" {
			return c, true
		}
	}
	return Companion{}, false
}

// Companion is a small file that is made with a new base.
type Companion struct {
	Name string
	// Sum is the digest of the base that the file holds, as md5sum and its like
	// write it. Text makes it of other facts; List is a list of sums of many files.
	// Packages is a list of the system's packages.
	Sum      checksum.Kind
	Text     func(Facts) string
	List     *sumlist.List
	Packages bool
	Former   []byte // a list of packages as it is
}

// Facts are what a companion may tell of a new base.
type Facts struct {
	Content  int64           // bytes of all files, and of the tables
	Packages []packages.List // of the system
}

// findTied finds what is tied to the base and to images that a new base makes
// void, in the state of that generation.
func (f *Found) findTied(generation string) (companions []Companion, aside []tied, err error) {
	s := &f.Files
	bases := []string{s.Base}
	for _, name := range s.Retired {
		if path.Ext(name) == path.Ext(s.Base) {
			bases = append(bases, name)
		}
	}
	var taken []string
	for n, base := range bases {
		dir := path.Dir(base)
		entries, err := f.Place.List(filepath.Join(f.Dir, dir))
		if err != nil {
			return nil, nil, err
		}
		var stems []string
		for _, entry := range entries {
			stem, old := strings.CutSuffix(entry, ".old")
			if !old {
				if older := StemOfOld(entry); older != "" {
					stem = older
				}
			}
			if !slices.Contains(stems, stem) {
				stems = append(stems, stem)
			}
		}
		for i := range Ties {
			t := &Ties[i]
			if t.always && t.layout == f.Layout.Name() && n == 0 && !slices.Contains(stems, t.name) {
				stems = append(stems, t.name)
			}
		}
		for _, stem := range stems {
			name := path.Join(dir, stem)
			t := tieOf(f.Layout.Name(), path.Base(base), stem)
			if t == nil || slices.Contains(taken, name) || slices.Contains(bases, name) {
				continue
			}
			at := filepath.Join(f.Dir, name)
			present := IsFile(f.Place, at) || IsFile(f.Place, at+generation)
			switch {
			case t.Made() && n == 0:
				if !present && !t.always {
					continue
				}
				c := Companion{Name: name, Sum: t.Sum, Text: t.text, Packages: t.packages}
				if t.packages {
					if c.Former, err = ReadSmall(f.Place, at+generation, maxPackageList); err != nil {
						if c.Former, err = ReadSmall(f.Place, at, maxPackageList); err != nil {
							return nil, nil, err
						}
					}
				}
				companions = append(companions, c)
			case IsDir(f.Place, at):
				continue
			default:
				aside = append(aside, tied{name, base, t.What})
			}
			taken = append(taken, name)
		}
	}
	order := func(c Companion) int {
		return slices.IndexFunc(Ties, func(t Tie) bool { return t.Matches(path.Base(s.Base), path.Base(c.Name)) })
	}
	slices.SortStableFunc(companions, func(a, b Companion) int { return cmp.Compare(order(a), order(b)) })
	return companions, aside, nil
}

// maxPackageList bounds a list of packages, in bytes.
const maxPackageList = 32 << 20

// Content is the text of a companion of a new base with these sums. A list of
// sums has none of its own: see followSums.
func (c *Companion) Content(base string, f Facts, sums map[checksum.Kind]string) []byte {
	switch {
	case c.List != nil:
		return c.List.Bytes()
	case c.Sum != "":
		return []byte(checksum.FormatLine(sums[c.Sum], filepath.Base(base)))
	case c.Packages:
		return PackageText(f.Packages, c.Former)
	}
	return []byte(c.Text(f))
}

// PackageText lists the packages of a system in the form of another list: with
// what stands between name and version there. The list is nil where that has
// another form.
func PackageText(lists []packages.List, former []byte) []byte {
	var out bytes.Buffer
	for _, l := range lists {
		if err := l.Write(&out); err != nil {
			return nil
		}
	}
	first, _, _ := bytes.Cut(bytes.TrimLeft(former, "\r\n"), []byte("\n"))
	fields := bytes.Fields(first)
	if len(fields) != 2 || len(lists) != 1 || lists[0].Manager != packages.Dpkg {
		if len(lists) == 1 && len(fields) > 0 && bytes.Contains(out.Bytes(), fields[0]) && lists[0].Manager != packages.Dpkg {
			return out.Bytes() // what the manager's own tool writes
		}
		return nil
	}
	between := bytes.TrimSuffix(bytes.TrimPrefix(bytes.TrimRight(first, "\r"), fields[0]), fields[1])
	return bytes.ReplaceAll(out.Bytes(), []byte("\t"), between)
}

// packageLists reads the lists of packages of a system, as far as they can be
// read.
func packageLists(ctx context.Context, root *tree.Node) ([]packages.List, error) {
	lists, err := packages.Find(ctx, root)
	if tree.IsDamage(err) {
		return nil, nil
	}
	return slices.DeleteFunc(lists, func(l packages.List) bool { return l.Unread != "" }), err
}

// Insistence finds the arguments in the menus of a medium by which a boot
// insists on what is set aside: "loader/entries/01.conf: verify=y".
func Insistence(ctx context.Context, root *tree.Node) (out []string, err error) {
	files, err := menu.Files(ctx, root)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		entries, err := menu.Read(f.Kind, f.Path, f.Text)
		if err != nil {
			continue // no menu that could be read; what edits menus tells
		}
		for _, e := range entries {
			for _, arg := range e.Args {
				for _, want := range insisting {
					if arg != want && (!strings.HasSuffix(want, "=") && !strings.HasSuffix(want, ".") || !strings.HasPrefix(arg, want)) {
						continue
					}
					if text := f.Path + ": " + tree.Escape(arg); !slices.Contains(out, text) {
						out = append(out, text)
					}
				}
			}
		}
	}
	return out, nil
}

// Insistence is that of the medium on which the live directory lies.
func (l *Live) Insistence(ctx context.Context) ([]string, error) {
	dir := l.Dir
	if l.medium() != "" {
		dir = filepath.Join(l.Dir, "..")
	}
	root, err := PlainDirectory(l.Place, dir)
	if err != nil {
		return nil, err
	}
	return Insistence(ctx, root)
}

// medium is Found.mediumName for an opened live directory.
func (l *Live) medium() string {
	return l.Found().mediumName()
}

// findCompanions finds all that tells of the base, in the state of that
// generation.
func (f *Found) findCompanions(generation string) error {
	made, aside, err := f.findTied(generation)
	if err != nil {
		return err
	}
	s := &f.Files
	s.Companions = append(s.Companions, made...)
	s.Tied = aside
	for _, t := range aside {
		s.Retired = append(s.Retired, t.Name)
	}
	if s.Sums, s.Foreign, err = f.findLists(generation); err != nil {
		return err
	}
	for _, l := range s.Sums {
		if !slices.ContainsFunc(made, func(c Companion) bool { return c.Name == l.Name }) {
			s.Companions = append(s.Companions, Companion{Name: l.Name, List: l})
		}
	}
	return nil
}

// Concerned returns the lists of sums that have a line of a file that changes, or
// of another such list, and adds them to what changes. One that holds no sum,
// but should of such a file by its name, becomes a list of it.
func (s *Files) Concerned(changed map[string]bool) (out []Companion) {
	for grown := true; grown; {
		grown = false
		for _, c := range s.Companions {
			if c.List == nil || changed[c.Name] {
				continue
			}
			is := func(name string) bool { return changed[name] }
			if about := sumlist.Stem(c.Name); c.List.Sums() == 0 && changed[about] && c.List.Kind != "" {
				c.List = sumlist.Blank(c.List, about)
			} else if !c.List.Lists(is) {
				continue
			}
			out = append(out, c)
			changed[c.Name], grown = true, true
		}
	}
	return out
}

// Packages lists those of a system, where a companion is to, be it one of more.
func (l *Live) Packages(ctx context.Context, system *tree.Node, more ...Companion) ([]packages.List, error) {
	if !slices.ContainsFunc(slices.Concat(l.Files.Companions, more), func(c Companion) bool { return c.Packages }) {
		return nil, nil
	}
	return packageLists(ctx, system)
}
