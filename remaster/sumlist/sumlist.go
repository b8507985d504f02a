package sumlist

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"relive/remaster/checksum"
	"relive/tree"
)

// List is a list of sums on a medium.
type List struct {
	*checksum.List
	// Name is the list's own, and targets what each of its lines is of, "" for
	// nothing: in the live directory of which it is, or in the tree, as one knows
	// its files there.
	Name    string
	Targets []string
}

// Lists reports whether a line is of a file for which in is true.
func (l *List) Lists(in func(name string) bool) bool {
	return slices.ContainsFunc(l.Targets, func(name string) bool { return name != "" && in(name) })
}

// Unread is why the list tells nothing, "" where it tells something.
func (l *List) Unread() string {
	if l.Sums() > 0 {
		return ""
	}
	if l.Kind == "" {
		return "no sum"
	}
	return "no " + strings.ToUpper(string(l.Kind)) + " sum"
}

// Blank is a list in the place of one that holds no sum: of one file, of
// which no sum is known yet.
func Blank(l *List, about string) *List {
	line := checksum.FormatLine(strings.Repeat("0", l.Kind.Digits()), path.Base(about))
	return &List{List: checksum.Parse(l.Path, l.Kind, []byte(line)), Name: l.Name, Targets: []string{about}}
}

// drop takes a line out.
func (l *List) drop(i int) {
	l.Lines, l.Targets = slices.Delete(l.Lines, i, i+1), slices.Delete(l.Targets, i, i+1)
}

// Copy is a copy that can be changed by itself.
func (l *List) Copy() *List {
	return &List{List: l.Clone(), Name: l.Name, Targets: slices.Clone(l.Targets)}
}

// Follow brings lists up to files that change, those of which changed is
// true, and then lists that list those. sum gives the sum of a file as it will
// be, and whether it is there no more: lines of such files are taken out. Sums
// of lists that are followed are not asked for. It gives how many lines of each
// list are others. circle: lists list each other, and not all can be right.
func Follow(lists []*List, changed map[string]bool, sum func(name string, kind checksum.Kind) (sum string, gone bool,
	err error)) (lines map[*List]int, circle bool, err error) {
	lines = map[*List]int{}
	byName := map[string]*List{}
	for _, l := range lists {
		byName[l.Name] = l
	}
	dirty := changed
	for round := 0; len(dirty) > 0; round++ {
		if round > len(lists) {
			return lines, true, nil
		}
		next := map[string]bool{}
		for _, l := range lists {
			for i := 0; i < len(l.Lines); i++ {
				line, name := &l.Lines[i], l.Targets[i]
				if name == "" || !dirty[name] || name == l.Name {
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
				next[l.Name] = true
			}
		}
		dirty = next
	}
	return lines, false, nil
}

// Known is a sum that a medium tells of one of its files.
type Known struct {
	Kind checksum.Kind
	Sum  string
	In   string // the file that tells it
}

// KnownOf are the sums that lists have of a file.
func KnownOf(lists []*List, name string) (out []Known) {
	for _, l := range lists {
		for i, target := range l.Targets {
			if target == name {
				k := Known{l.Lines[i].Kind, strings.ToLower(l.Lines[i].Sum), l.Name}
				if !slices.Contains(out, k) {
					out = append(out, k)
				}
			}
		}
	}
	return out
}

// Find reads all lists of sums in a tree. What looks like one and cannot
// be read as text has no sums.
func Find(ctx context.Context, root *tree.Node) (lists []*List, err error) {
	there := func(at string) bool {
		n, err := Resolve(root, at)
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
		l := &List{List: checksum.Parse(p, kind, text), Name: p}
		if n.Size > checksum.MaxList {
			l.Unknown = 1
		}
		for i := range l.Lines {
			l.Targets = append(l.Targets, l.Target(&l.Lines[i], there))
		}
		lists = append(lists, l)
		return nil
	})
	return lists, err
}

// SignatureOf returns the path of a file's detached signature, "" where there is
// none.
func SignatureOf(root *tree.Node, p string) (string, error) {
	for _, ext := range Signatures {
		n, err := root.Lookup(p + ext)
		if err != nil || n != nil {
			return p + ext, err
		}
	}
	return "", nil
}

// Resolve looks a path up in a tree, and follows symlinks in it.
func Resolve(root *tree.Node, p string) (*tree.Node, error) {
	n, _, err := tree.Follow(root, path.Clean("/"+p))
	return n, err
}

// Stem is a name without its extension.
func Stem(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }

// HashNode returns the sum of a file of a tree in hexadecimal.
func HashNode(ctx context.Context, n *tree.Node, kind checksum.Kind, progress func(int64)) (string, error) {
	c, err := n.Open()
	if err != nil {
		return "", err
	}
	defer c.Close()
	sums, err := HashContent(ctx, c, progress, kind)
	return sums[kind], err
}

// HashContent returns sums of a content. progress, which may be nil, is told how
// much more was read.
func HashContent(ctx context.Context, c tree.Content, progress func(int64), kinds ...checksum.Kind) (map[checksum.Kind]string, error) {
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

// Signatures are the extensions of detached signatures, which any file may have.
var Signatures = []string{".sig", ".cms.sig", ".asc", ".gpg", ".sign", ".p7s", ".minisig"}
