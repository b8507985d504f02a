package remaster

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

// tie says what a file beside a base has to do with the bytes of the base. What
// has nothing to do with them, or is a list of sums (see sumList), has none.
type tie struct {
	// name is a pattern: BASE is the base's name, STEM the same without its
	// extension. "*" matches as with path.Match.
	name string
	// layout is the layout's name where only that has it, "" for all.
	layout string
	// always: it is made where there is none, too.
	always bool
	// what it is, for people.
	what string
	// sum, text or packages say what it is made of for a new base. One that has
	// none of them is set aside with the former base.
	sum      checksum.Kind
	text     func(baseFacts) string
	packages bool
}

// ties are all that relive knows to be tied to a base. It is the one list of
// them: what makes a new base makes them anew or sets them aside, with a
// warning; what takes a base over from elsewhere takes those along that are set
// aside; what rebuilds an ISO warns of them.
//
// live-boot mounts with .verity and .roothash where they are there (9990-overlay.sh),
// and checks .roothash.p7s; archiso checks .sig and .cms.sig with verify=y and
// cms_verify=y (hooks/archiso); antiX's init compares linuxfs.md5, and takes the
// size for toram from linuxfs.info; casper and Ubuntu's installers read .size and
// .manifest.
var ties = []tie{
	{name: "linuxfs.md5", layout: AntiX{}.Name(), always: true, what: "sum", sum: checksum.MD5},
	{name: "linuxfs.info", layout: AntiX{}.Name(), always: true, what: "size", text: func(f baseFacts) string { return fmt.Sprintf("UncompressedSizeKB=%d\n", (f.content+1023)/1024) }},
	{name: "airootfs.sha512", layout: Archiso{}.Name(), what: "sum", sum: checksum.SHA512},
	{name: "STEM.size", what: "size", text: func(f baseFacts) string { return fmt.Sprintln(f.content) }},
	{name: "STEM.manifest", what: "list of packages", packages: true},
	{name: "STEM.packages", what: "list of packages", packages: true},
	{name: "BASE.sig", what: "signature"},
	{name: "BASE.cms.sig", what: "signature"},
	{name: "BASE.cms", what: "signature"},
	{name: "BASE.asc", what: "signature"},
	{name: "BASE.gpg", what: "signature"},
	{name: "BASE.sign", what: "signature"},
	{name: "BASE.p7s", what: "signature"},
	{name: "BASE.minisig", what: "signature"},
	{name: "BASE.verity", what: "hash tree of dm-verity"},
	{name: "BASE.verity.*", what: "signature of a hash tree"},
	{name: "BASE.roothash", what: "root hash of dm-verity"},
	{name: "BASE.roothash.*", what: "signature of a root hash"},
	{name: "BASE.fec", what: "error correction of dm-verity"},
	{name: "BASE.zsync", what: "list of blocks for zsync"},
	{name: "STEM.verity", what: "hash tree of dm-verity"},
	{name: "STEM.verity.*", what: "signature of a hash tree"},
	{name: "STEM.roothash", what: "root hash of dm-verity"},
	{name: "STEM.roothash.*", what: "signature of a root hash"},
	{name: "STEM.zsync", what: "list of blocks for zsync"},
}

// insisting are the kernel arguments by which a boot insists on a companion that
// is set aside, or holds a hash of the base itself: a name alone, or with the
// beginning of its value.
var insisting = []string{
	"verify=y", "cms_verify=y", // archiso
	"dm-verity-enforce-roothash-signatures=true", // live-boot
	"roothash=", "usrhash=", "rd.veritysetup=", "verity.", // systemd, and what reads its options
	"rootflags=verity.", "rd.live.verity", "dm-mod.create=",
}

// made reports whether a new base gets a new one.
func (t *tie) made() bool { return t.sum != "" || t.text != nil || t.packages }

// matches reports whether a file is one that is tied to a base of that name,
// both in the same directory.
func (t *tie) matches(base, name string) bool {
	pattern := strings.NewReplacer("BASE", literally(base), "STEM", literally(sumlist.Stem(base))).Replace(t.name)
	ok, err := path.Match(pattern, name)
	// The generations of a file are no files of their own.
	return err == nil && ok && name != base && !isAside(name)
}

// tieOf gives what ties a file to a base, both in the same directory; nil where
// nothing does. Names of "BASE" beat those of "STEM".
func tieOf(layout, base, name string) *tie {
	for i := range ties {
		if t := &ties[i]; (t.layout == "" || t.layout == layout) && t.matches(base, name) {
			return t
		}
	}
	return nil
}

// tied is a file that is set aside with the base to whose bytes it is tied.
type tied struct {
	name, base string
	what       string
}

// sum gives the companion that holds the base's sum alone; false where none
// does.
func (s *fileSet) sum() (companion, bool) {
	for _, c := range s.companions {
		if c.sum != "" {
			return c, true
		}
	}
	return companion{}, false
}

// companion is a small file that is made with a new base.
type companion struct {
	name string
	// sum is the digest of the base that the file holds, as md5sum and its like
	// write it. text makes it of other facts; list is a list of sums of many files.
	// packages is a list of the system's packages.
	sum      checksum.Kind
	text     func(baseFacts) string
	list     *sumlist.List
	packages bool
	former   []byte // a list of packages as it is
}

// baseFacts are what a companion may tell of a new base.
type baseFacts struct {
	content  int64           // bytes of all files, and of the tables
	packages []packages.List // of the system
}

// findTied finds what is tied to the base and to images that a new base makes
// void, in the state of that generation.
func (f *Found) findTied(generation string) (companions []companion, aside []tied, err error) {
	s := &f.files
	bases := []string{s.base}
	for _, name := range s.retired {
		if path.Ext(name) == path.Ext(s.base) {
			bases = append(bases, name)
		}
	}
	var taken []string
	for n, base := range bases {
		dir := path.Dir(base)
		entries, err := f.at.list(filepath.Join(f.Dir, dir))
		if err != nil {
			return nil, nil, err
		}
		var stems []string
		for _, entry := range entries {
			stem, old := strings.CutSuffix(entry, ".old")
			if !old {
				if older := oldGeneration(entry); older != "" {
					stem = older
				}
			}
			if !slices.Contains(stems, stem) {
				stems = append(stems, stem)
			}
		}
		for i := range ties {
			t := &ties[i]
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
			present := isFile(f.at, at) || isFile(f.at, at+generation)
			switch {
			case t.made() && n == 0:
				if !present && !t.always {
					continue
				}
				c := companion{name: name, sum: t.sum, text: t.text, packages: t.packages}
				if t.packages {
					if c.former, err = readSmall(f.at, at+generation, maxPackageList); err != nil {
						if c.former, err = readSmall(f.at, at, maxPackageList); err != nil {
							return nil, nil, err
						}
					}
				}
				companions = append(companions, c)
			case isDir(f.at, at):
				continue
			default:
				aside = append(aside, tied{name, base, t.what})
			}
			taken = append(taken, name)
		}
	}
	order := func(c companion) int {
		return slices.IndexFunc(ties, func(t tie) bool { return t.matches(path.Base(s.base), path.Base(c.name)) })
	}
	slices.SortStableFunc(companions, func(a, b companion) int { return cmp.Compare(order(a), order(b)) })
	return companions, aside, nil
}

// maxPackageList bounds a list of packages, in bytes.
const maxPackageList = 32 << 20

// content is the text of a companion of a new base with these sums. A list of
// sums has none of its own: see followSums.
func (c *companion) content(base string, f baseFacts, sums map[checksum.Kind]string) []byte {
	switch {
	case c.list != nil:
		return c.list.Bytes()
	case c.sum != "":
		return []byte(checksum.FormatLine(sums[c.sum], filepath.Base(base)))
	case c.packages:
		return packageText(f.packages, c.former)
	}
	return []byte(c.text(f))
}

// packageText lists the packages of a system in the form of another list: with
// what stands between name and version there. The list is nil where that has
// another form.
func packageText(lists []packages.List, former []byte) []byte {
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

// insistence finds the arguments in the menus of a medium by which a boot
// insists on what is set aside: "loader/entries/01.conf: verify=y".
func insistence(ctx context.Context, root *tree.Node) (out []string, err error) {
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

// insistence is that of the medium on which the live directory lies.
func (l *Live) insistence(ctx context.Context) ([]string, error) {
	dir := l.Dir
	if l.medium() != "" {
		dir = filepath.Join(l.Dir, "..")
	}
	root, err := plainDirectory(l.at, dir)
	if err != nil {
		return nil, err
	}
	return insistence(ctx, root)
}

// medium is Found.mediumName for an opened live directory.
func (l *Live) medium() string {
	return (&Found{Dir: l.Dir, Layout: l.Layout, at: l.at, files: l.files}).mediumName()
}

// findCompanions finds all that tells of the base, in the state of that
// generation.
func (f *Found) findCompanions(generation string) error {
	made, aside, err := f.findTied(generation)
	if err != nil {
		return err
	}
	s := &f.files
	s.companions = append(s.companions, made...)
	s.tied = aside
	for _, t := range aside {
		s.retired = append(s.retired, t.name)
	}
	if s.sums, s.foreign, err = f.findLists(generation); err != nil {
		return err
	}
	for _, l := range s.sums {
		if !slices.ContainsFunc(made, func(c companion) bool { return c.name == l.Name }) {
			s.companions = append(s.companions, companion{name: l.Name, list: l})
		}
	}
	return nil
}

// concerned gives the lists of sums that have a line of a file that changes, or
// of another such list, and adds them to what changes. One that holds no sum,
// but should of such a file by its name, becomes a list of it.
func (s *fileSet) concerned(changed map[string]bool) (out []companion) {
	for grown := true; grown; {
		grown = false
		for _, c := range s.companions {
			if c.list == nil || changed[c.name] {
				continue
			}
			is := func(name string) bool { return changed[name] }
			if about := sumlist.Stem(c.name); c.list.Sums() == 0 && changed[about] && c.list.Kind != "" {
				c.list = sumlist.Blank(c.list, about)
			} else if !c.list.Lists(is) {
				continue
			}
			out = append(out, c)
			changed[c.name], grown = true, true
		}
	}
	return out
}

// packages lists those of a system, where a companion is to.
func (l *Live) packages(ctx context.Context, system *tree.Node) ([]packages.List, error) {
	if !slices.ContainsFunc(l.files.companions, func(c companion) bool { return c.packages }) {
		return nil, nil
	}
	return packageLists(ctx, system)
}
