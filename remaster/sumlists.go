package remaster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/checksum"
	"relive/tree"
)

// sumList is a list of sums on a medium.
type sumList struct {
	*checksum.List
	// name is the list's own, and targets what each of its lines is of, "" for
	// nothing: in the live directory of which it is, or in the tree, as one knows
	// its files there.
	name    string
	targets []string
}

// lists reports whether a line is of a file for which in is true.
func (l *sumList) lists(in func(name string) bool) bool {
	return slices.ContainsFunc(l.targets, func(name string) bool { return name != "" && in(name) })
}

// unread is why the list tells nothing, "" where it tells something.
func (l *sumList) unread() string {
	if l.Sums() > 0 {
		return ""
	}
	if l.Kind == "" {
		return "no sum"
	}
	return "no " + strings.ToUpper(string(l.Kind)) + " sum"
}

// blankList is a list in the place of one that holds no sum: of one file, of
// which no sum is known yet.
func blankList(l *sumList, about string) *sumList {
	line := checksum.FormatLine(strings.Repeat("0", l.Kind.Digits()), path.Base(about))
	return &sumList{List: checksum.Parse(l.Path, l.Kind, []byte(line)), name: l.name, targets: []string{about}}
}

// drop takes a line out.
func (l *sumList) drop(i int) {
	l.Lines, l.targets = slices.Delete(l.Lines, i, i+1), slices.Delete(l.targets, i, i+1)
}

// clone is a copy that can be changed by itself.
func (l *sumList) clone() *sumList {
	return &sumList{List: l.Clone(), name: l.name, targets: slices.Clone(l.targets)}
}

// followSums brings lists up to files that change, those of which changed is
// true, and then lists that list those. sum gives the sum of a file as it will
// be, and whether it is there no more: lines of such files are taken out. Sums
// of lists that are followed are not asked for. It gives how many lines of each
// list are others. circle: lists list each other, and not all can be right.
func followSums(lists []*sumList, changed map[string]bool, sum func(name string, kind checksum.Kind) (sum string, gone bool, err error)) (lines map[*sumList]int, circle bool, err error) {
	lines = map[*sumList]int{}
	byName := map[string]*sumList{}
	for _, l := range lists {
		byName[l.name] = l
	}
	dirty := changed
	for round := 0; len(dirty) > 0; round++ {
		if round > len(lists) {
			return lines, true, nil
		}
		next := map[string]bool{}
		for _, l := range lists {
			for i := 0; i < len(l.Lines); i++ {
				line, name := &l.Lines[i], l.targets[i]
				if name == "" || !dirty[name] || name == l.name {
					continue
				}
				var now string
				var gone bool
				if other := byName[name]; other != nil {
					now = checksum.Bytes(line.Kind, other.Bytes())
				} else if now, gone, err = sum(name, line.Kind); err != nil {
					return lines, false, err
				}
				switch {
				case gone:
					l.drop(i)
					i--
				case line.Is(now):
					continue
				default:
					line.Set(now)
				}
				lines[l]++
				next[l.name] = true
			}
		}
		dirty = next
	}
	return lines, false, nil
}

// knownSum is a sum that a medium tells of one of its files.
type knownSum struct {
	kind checksum.Kind
	sum  string
	in   string // the file that tells it
}

// knownSums are the sums that lists have of a file.
func knownSums(lists []*sumList, name string) (out []knownSum) {
	for _, l := range lists {
		for i, target := range l.targets {
			if target == name {
				k := knownSum{l.Lines[i].Kind, strings.ToLower(l.Lines[i].Sum), l.name}
				if !slices.Contains(out, k) {
					out = append(out, k)
				}
			}
		}
	}
	return out
}

// findSumLists reads all lists of sums in a tree. What looks like one and cannot
// be read as text has no sums.
func findSumLists(ctx context.Context, root *tree.Node) (lists []*sumList, err error) {
	there := func(at string) bool {
		n, err := follow(root, at)
		return err == nil && n != nil && n.Type == tree.Regular
	}
	err = tree.Walk(ctx, root, func(p string, n *tree.Node) error {
		kind, ok := checksum.Named(n.Name)
		if n.Type != tree.Regular || !ok {
			return nil
		}
		var text []byte
		if n.Size <= checksum.MaxList {
			var err error
			if text, err = tree.ReadAll(n, checksum.MaxList); err != nil {
				return fmt.Errorf("%s: %w", tree.Quote(p), err)
			}
		}
		l := &sumList{List: checksum.Parse(p, kind, text), name: p}
		if n.Size > checksum.MaxList {
			l.Unknown = 1
		}
		for i := range l.Lines {
			l.targets = append(l.targets, l.Target(&l.Lines[i], there))
		}
		lists = append(lists, l)
		return nil
	})
	return lists, err
}

// signatureOf gives the path of a file's detached signature, "" where there is
// none.
func signatureOf(root *tree.Node, p string) (string, error) {
	for _, ext := range signatures {
		n, err := root.Lookup(p + ext)
		if err != nil || n != nil {
			return p + ext, err
		}
	}
	return "", nil
}

// follow looks a path up in a tree, and follows symlinks in it.
func follow(root *tree.Node, p string) (*tree.Node, error) {
	n, _, err := tree.Follow(root, path.Clean("/"+p))
	return n, err
}

// mediumName is the name that the live directory has on its medium, "" where it
// is the medium's root.
func (f *Found) mediumName() string {
	if !f.Layout.belowRoot(f) {
		return ""
	}
	if at, ok := f.at.(onStick); ok {
		if f.Dir == at.name {
			return ""
		}
		return path.Base(f.Dir)
	}
	if name := baseName(f.Dir); name != "/" {
		return name
	}
	return ""
}

// belowRoot: the live directory is one at the root of the medium.
func (AntiX) belowRoot(*Found) bool { return true }

// belowRoot: the live directory is a medium's LiveOS, or one that somebody made.
func (LiveOS) belowRoot(f *Found) bool { return mediumOf(f.Dir) != "" }

func (Archiso) belowRoot(*Found) bool  { return false }
func (LiveBoot) belowRoot(*Found) bool { return false }
func (Casper) belowRoot(*Found) bool   { return false }

// onMedium gives the path on the medium of a name of the live directory, and
// fromMedium the other way about.
func onMedium(dir, name string) string {
	return strings.Trim(path.Clean("/"+path.Join(dir, name)), "/")
}

func fromMedium(dir, at string) string {
	if dir == "" || at == "" {
		return at
	}
	if in, ok := strings.CutPrefix(at, dir+"/"); ok {
		return in
	}
	return "../" + at
}

// listDirs are the directories, relative to the live directory, that are looked
// through for lists of sums: the root of the medium, its .disk, those at the
// root of a medium that is the live directory, and where base and kernels lie.
func (f *Found) listDirs() (dirs []string, err error) {
	root := "."
	if f.mediumName() != "" {
		root = ".."
	}
	dirs = []string{root, path.Join(root, ".disk")}
	for _, name := range append([]string{f.files.base}, f.files.kernel...) {
		for dir := path.Dir(name); dir != "." && dir != ".."; dir = path.Dir(dir) {
			dirs = append(dirs, dir)
		}
	}
	dirs = append(dirs, ".")
	if root == "." {
		names, err := f.at.list(f.Dir)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if !setAside(name) && isDir(f.at, filepath.Join(f.Dir, name)) {
				dirs = append(dirs, name)
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs), nil
}

// findLists reads the lists of sums on the medium that have a line of one of
// the live directory's files, in the state of that generation. Other lists are
// nobody's business here. foreign are lists that name the base, of digests that
// are not known.
func (f *Found) findLists(generation string) (lists []*sumList, foreign []string, err error) {
	dirs, err := f.listDirs()
	if err != nil {
		return nil, nil, err
	}
	medium := f.mediumName()
	own := map[string]bool{}
	for _, name := range append(slices.Concat(f.files.together(), f.files.stack), f.files.home) {
		if name != "" && name != "." {
			own[name] = true
		}
	}
	isOwn := func(name string) bool { return own[name] }
	there := func(at string) bool {
		name := fromMedium(medium, at)
		return own[name] || has(f.at, filepath.Join(f.Dir, name))
	}
	var all []*sumList
	for _, dir := range dirs {
		names, err := f.at.list(filepath.Join(f.Dir, dir))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue // what cannot be seen is no part of it
		}
		if err != nil {
			return nil, nil, err
		}
		for _, entry := range names {
			stem, ok := strings.CutSuffix(entry, generation)
			if !ok {
				continue
			}
			name := path.Join(dir, stem)
			kind, ok := checksum.Named(stem)
			at := filepath.Join(f.Dir, dir, entry)
			if !isFile(f.at, at) {
				continue
			}
			if checksum.Foreign(stem) != "" {
				text, err := readSmall(f.at, at, checksum.MaxList)
				if err == nil && strings.Contains(string(text), path.Base(f.files.base)) || strings.HasPrefix(stem, path.Base(f.files.base)+".") {
					foreign = append(foreign, name)
				}
				continue
			}
			if !ok {
				continue
			}
			text, err := readSmall(f.at, at, checksum.MaxList)
			if err != nil {
				return nil, nil, err
			}
			l := &sumList{List: checksum.Parse(onMedium(medium, name), kind, text), name: name}
			if about := stemOf(name); dir == path.Dir(f.files.base) && isFile(f.at, filepath.Join(f.Dir, about)) {
				own[about] = true // whatever it is, its sum stands among those of the live directory
			}
			for i := range l.Lines {
				target := ""
				if at := l.Target(&l.Lines[i], there); at != "" {
					target = fromMedium(medium, at)
				}
				l.targets = append(l.targets, target)
			}
			f.aimAtBase(l)
			all = append(all, l)
		}
	}
	// A list of which another tells is kept in step with it.
	for grown := true; grown; {
		grown = false
		all = slices.DeleteFunc(all, func(l *sumList) bool {
			if !l.lists(isOwn) && !f.namedAfterOwn(l, own) {
				return false
			}
			lists, own[l.name], grown = append(lists, l), true, true
			return true
		})
	}
	return lists, foreign, nil
}

// aimAtBase makes a list of one sum without a name, or with one that is not
// there, one of the base where it is called after it: airootfs.sha512 is of
// airootfs.sfs.
func (f *Found) aimAtBase(l *sumList) {
	base := f.files.base
	if path.Dir(l.name) != path.Dir(base) || stemOf(l.name) != stemOf(base) || l.Sums() != 1 {
		return
	}
	for i := range l.Lines {
		if l.Lines[i].Kind != "" && !has(f.at, filepath.Join(f.Dir, l.targets[i])) {
			l.targets[i] = base
		}
	}
}

// namedAfterOwn reports whether a list without a sum is called after one of the
// live directory's files: what it was to tell is missed then.
func (f *Found) namedAfterOwn(l *sumList, own map[string]bool) bool {
	return l.Sums() == 0 && (own[stemOf(l.name)] || path.Dir(l.name) == path.Dir(f.files.base) && stemOf(l.name) == stemOf(f.files.base))
}

// stemOf is a name without its extension.
func stemOf(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }

// hashNode gives the sum of a file of a tree in hexadecimal.
func hashNode(ctx context.Context, n *tree.Node, kind checksum.Kind, progress func(int64)) (string, error) {
	c, err := n.Open()
	if err != nil {
		return "", err
	}
	defer c.Close()
	sums, err := hashContent(ctx, c, progress, kind)
	return sums[kind], err
}

// hashContent gives sums of a content. progress, which may be nil, is told how
// much more was read.
func hashContent(ctx context.Context, c tree.Content, progress func(int64), kinds ...checksum.Kind) (map[checksum.Kind]string, error) {
	var last int64
	done := func(n int64) {
		if progress != nil {
			progress(n - last)
		}
		last = n
	}
	sums, err := checksum.Reader(ctx, io.NewSectionReader(c, 0, c.Size()), done, kinds...)
	if err == nil && last != c.Size() {
		err = io.ErrUnexpectedEOF
	}
	return sums, err
}
