package menu

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"relive/tree"
)

// ErrEdits is the error of edits that cannot be carried out in any menu.
var ErrEdits = errors.New("cannot be done")

// Edits say what to change in menus. The zero value changes nothing.
type Edits struct {
	// Add are arguments of the kernel that every entry that boots Linux is to
	// have, each as it would stand in the kernel's command line: "quiet",
	// "lang=de_DE", `opt="a b"`. What an entry has is not added again.
	// "name=value" takes the place of "name=other", but for names that may stand
	// more than once, such as console; see docs/menus.md. New arguments come
	// behind the others and before "--" or "---".
	Add []string
	// Remove are patterns of arguments to be taken out. "name" is the argument of
	// that name with and without a value, "name=" with any value, "name=value"
	// with that one; '*' stands for any bytes. A value that is a variable of
	// GRUB's is any value, but none that "name=*" matches. An argument that Add
	// names stays.
	Remove []string
	// Saved are patterns as Remove's of arguments that GRUB's saved choices alone are
	// to lose: variables in grubenv and grubenv.cfg that become one of them, or one that
	// is removed, are emptied there.
	Saved []string
	// Values put other arguments in the place of some; see ValueEdit.
	Values []ValueEdit
	// Labels and UUIDs are new names of volumes, by the old ones. A UUID's letters
	// may be of either case. A label is encoded as udev does where it stands in an
	// argument.
	Labels, UUIDs map[string]string
	// Paths are new paths of files and directories on the medium, by the old
	// ones, with or without a leading slash. A directory's takes what is below
	// along; the longest one counts.
	Paths map[string]string
	// Title is the new title of menus that have one (MENU TITLE outside of
	// submenus); empty leaves it.
	Title string
	// Titles are applied to the labels of entries and submenus, one after the
	// other.
	Titles []TitleEdit
}

// ValueEdit puts an argument in the place of those that begin in one of some ways,
// with all that follows: "root=live:/dev/" of "root=live:/dev/sdb1".
type ValueEdit struct {
	Old []string
	New string
	// GRUB takes the place of New in GRUB's scripts, where it is not empty: GRUB
	// hands a backslash on as two.
	GRUB string
	// Beside are names of arguments of which one must stand in the same list, be it
	// with a value; none for any list.
	Beside []string
	// Known leaves arguments alone in which a variable stands.
	Known bool
}

// TitleEdit replaces every occurrence of a text in labels by another. Where the
// new text holds the old one, occurrences of the new one stay. An old text that
// comes about only where a new one meets what stands beside it is replaced when
// the edits are applied again.
type TitleEdit struct{ Old, New string }

// Change is one line of a menu that an edit is about.
type Change struct {
	// File is the path of the menu, as it was given.
	File string
	// Line counts from 1, in the text before the edits. A line that is put in has
	// the number of the line before it.
	Line int
	// Before and After are the line without its end; Before is empty for a line
	// that is put in. They are the menu's bytes in whatever encoding.
	Before, After string
	// Left is why the line stays as it is, though the edits are about it; After
	// is as Before then. It is empty for a line that was changed.
	Left string
}

// String shows the change to a person.
func (c Change) String() string {
	place := fmt.Sprintf("%s:%d", strings.TrimPrefix(c.File, "/"), c.Line)
	switch {
	case c.Left != "" && c.Line == 0:
		return fmt.Sprintf("%s: not changed: %s", strings.TrimPrefix(c.File, "/"), c.Left)
	case c.Left != "":
		return fmt.Sprintf("%s: not changed: %s: %q", place, c.Left, c.Before)
	case c.Before == "":
		return fmt.Sprintf("%s: new: %q", place, c.After)
	}
	return fmt.Sprintf("%s: %q -> %q", place, c.Before, c.After)
}

// Apply edits a menu. The path is that of the menu on the medium before the
// edits, which relative paths in it start from. The text is not modified; where
// nothing changes, out is the text itself. Changes are in the order of lines.
//
// Errors are ErrEdits, and tree.ErrCorrupt or tree.ErrUnsupported for a text
// that cannot be edited.
func (e *Edits) Apply(kind Kind, path string, text []byte) (out []byte, changes []Change, err error) {
	r, err := e.compile()
	if err != nil {
		return nil, nil, err
	}
	return r.apply(kind, path, text, &surroundings{})
}

// surroundings is what the other menus of a medium tell about one of them.
type surroundings struct {
	// variables are those of GRUB's scripts; nil where only the menu itself is
	// known.
	variables *variables
	// append tells that a configuration of SYSLINUX has an APPEND for labels that
	// have none.
	append bool
}

func (r *rules) apply(kind Kind, path string, text []byte, near *surroundings) ([]byte, []Change, error) {
	if len(text) > MaxText {
		return nil, nil, tooLarge(path, int64(len(text)))
	}
	if r.none() {
		return text, nil, nil
	}
	var s []splice
	var err error
	switch kind {
	case Syslinux:
		s = r.syslinux(path, text, near)
	case GRUB:
		s, err = r.grub(path, text, near)
	case Loader:
		s = r.loader(path, text)
	case Environment:
		vars := near.variables
		if vars == nil {
			vars = &variables{}
		}
		out, changes := r.environment(path, text, vars)
		return out, changes, nil
	default:
		err = tree.Unsupported(path, "", "no kind of menu")
	}
	if err != nil {
		return nil, nil, err
	}
	out, changes := splices(s).apply(path, text)
	return out, changes, nil
}

func tooLarge(path string, size int64) error {
	return tree.Unsupported(path, "", "a menu of %d bytes, more than %d", size, MaxText)
}

// rules are edits that were checked and made ready.
type rules struct {
	add    []string // canonical
	remove removal
	saved  removal
	values []ValueEdit
	labels map[string]string
	uuids  map[string]string // keys in lower case
	paths  map[string]string // clean, with a leading slash
	title  string
	titles []TitleEdit
}

func (r *rules) none() bool {
	return len(r.add) == 0 && r.remove.none() && r.saved.none() && len(r.values) == 0 && len(r.labels) == 0 && len(r.uuids) == 0 &&
		len(r.paths) == 0 && r.title == "" && len(r.titles) == 0
}

func (e *Edits) compile() (*rules, error) {
	r := &rules{title: e.Title, labels: map[string]string{}, uuids: map[string]string{}, paths: map[string]string{}}
	if err := oneLine("title", e.Title); err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, a := range e.Add {
		c, err := canonical(a)
		if err != nil {
			return nil, err
		}
		if c == "--" || c == "---" {
			return nil, fmt.Errorf("%w: %q is no argument of a kernel", ErrEdits, a)
		}
		if slices.Contains(r.add, c) {
			continue
		}
		name, value, has := strings.Cut(c, "=")
		if other, twice := values[name]; has && twice && other != value && !several(name) {
			return nil, fmt.Errorf("%w: the argument %s has two values, %q and %q", ErrEdits, name, other, value)
		}
		if has {
			values[name] = value
		}
		r.add = append(r.add, c)
	}
	for _, list := range []struct {
		patterns []string
		to       *removal
	}{{e.Remove, &r.remove}, {e.Saved, &r.saved}} {
		for _, p := range list.patterns {
			c, err := canonical(p)
			if err != nil {
				return nil, err
			}
			list.to.add(c)
		}
	}
	for _, v := range e.Values {
		for _, with := range []*string{&v.New, &v.GRUB} {
			if *with == "" && with == &v.GRUB {
				continue
			}
			var err error
			if *with, err = canonical(*with); err != nil {
				return nil, err
			}
		}
		r.values = append(r.values, v)
	}
	for _, m := range []struct {
		what     string
		from, to map[string]string
		key      func(string) string
	}{
		{"label", e.Labels, r.labels, func(s string) string { return s }},
		{"UUID", e.UUIDs, r.uuids, strings.ToLower},
		{"path", e.Paths, r.paths, rooted},
	} {
		for _, k := range slices.Sorted(maps.Keys(m.from)) {
			old, now := m.key(k), m.from[k]
			if m.what == "path" {
				now = rooted(now)
			}
			for _, s := range []string{old, now} {
				if err := oneLine(m.what, s); err != nil {
					return nil, err
				}
				if s == "" || s == "/" {
					return nil, fmt.Errorf("%w: the %s %q -> %q", ErrEdits, m.what, k, m.from[k])
				}
			}
			if before, twice := m.to[old]; twice && before != now {
				return nil, fmt.Errorf("%w: the %s %q has two new names", ErrEdits, m.what, old)
			}
			if old != now {
				m.to[old] = now
			}
		}
		for old, now := range m.to {
			if m.what != "path" {
				if _, again := m.to[m.key(now)]; again {
					return nil, fmt.Errorf("%w: the %s %q becomes %q, which is renamed as well", ErrEdits, m.what, old, now)
				}
				continue
			}
			if again, ok := r.path(now); ok {
				return nil, fmt.Errorf("%w: the path %q becomes %q, and that %q", ErrEdits, old, now, again)
			}
		}
	}
	for _, t := range e.Titles {
		for _, s := range []string{t.Old, t.New} {
			if err := oneLine("label", s); err != nil {
				return nil, err
			}
		}
		if t.Old == "" {
			return nil, fmt.Errorf("%w: a text of labels to be replaced is empty", ErrEdits)
		}
		if t.Old != t.New {
			r.titles = append(r.titles, t)
		}
	}
	return r, nil
}

// oneLine tells what cannot stand in a line of a menu.
func oneLine(what, s string) error {
	if strings.ContainsAny(s, "\n\r\x00") {
		return fmt.Errorf("%w: the %s %q holds a line end or a NUL", ErrEdits, what, s)
	}
	return nil
}
