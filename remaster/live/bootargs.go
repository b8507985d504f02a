package live

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"relive/remaster/menu"
	"relive/tree"
)

// bootMenus is what the menus of a medium tell of its boots: which arguments the
// kernel has with each entry.
type bootMenus struct{ entries []bootEntry }

// bootEntry is an entry that boots Linux.
type bootEntry struct {
	file, title string
	args        []string
}

// name is the entry for people.
func (b *bootEntry) name() string {
	if b.title == "" {
		return b.file
	}
	return fmt.Sprintf("%s: %q", b.file, b.title)
}

// has reports whether an argument stands there by itself.
func (b *bootEntry) has(names ...string) bool {
	return slices.ContainsFunc(b.args, func(a string) bool { return slices.Contains(names, a) })
}

// value returns the value of the last argument of one of those names.
func (b *bootEntry) value(names ...string) (value string, ok bool) {
	for _, a := range b.args {
		if name, v, has := strings.Cut(a, "="); has && slices.Contains(names, name) {
			value, ok = v, true
		}
	}
	return value, ok
}

// readBootMenus reads the menus of the medium with that root: ISOLINUX and its
// kin, GRUB with what it includes, and systemd-boot. What cannot be read tells
// nothing; a directory that is no medium has no menus.
func readBootMenus(ctx context.Context, at Place, root string) *bootMenus {
	m := &bootMenus{}
	if !IsMedium(at, root) && !IsDir(at, filepath.Join(root, "loader")) {
		return m
	}
	top, err := PlainDirectory(at, root)
	if err != nil {
		return m
	}
	files, err := menu.Files(ctx, top)
	if err != nil {
		return m
	}
	vars := grubVariables(ctx, top, files)
	for _, f := range files {
		entries, err := menu.Read(f.Kind, f.Path, f.Text)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if !e.Linux() {
				continue
			}
			b := bootEntry{file: f.Path, title: e.Title}
			for _, a := range e.Args {
				b.args = append(b.args, strings.Fields(expand(a, vars))...)
			}
			m.entries = append(m.entries, b)
		}
	}
	return m
}

var (
	grubSet = regexp.MustCompile(`(?m)^[ \t]*(?:set[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=("[^"\n]*"|'[^'\n]*'|[^ \t\r\n;"']*)[ \t;\r]*$`)
	grubUse = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)
)

// grubVariables returns the values of GRUB's variables that are known before a
// menu is shown: of grubenv, and those that scripts set once and to plain text.
// One that is set in two ways may have either.
func grubVariables(_ context.Context, root *tree.Node, files []menu.File) map[string]string {
	vars := map[string]string{}
	several := map[string]bool{}
	for _, f := range files {
		if f.Kind != menu.GRUB {
			continue
		}
		for _, m := range grubSet.FindAllSubmatch(f.Text, -1) {
			name, value := string(m[1]), strings.Trim(string(m[2]), `"'`)
			if old, ok := vars[name]; ok && old != value {
				several[name] = true
			}
			vars[name] = value
		}
	}
	for name := range several {
		delete(vars, name)
	}
	for _, f := range files {
		if f.Kind != menu.GRUB {
			continue
		}
		n, err := root.Lookup(path.Join(path.Dir(f.Path), "grubenv"))
		if err != nil || n == nil || n.Type != tree.Regular {
			continue
		}
		text, err := tree.ReadAll(n, menu.MaxText)
		if err != nil || !bytes.HasPrefix(text, []byte("# GRUB Environment Block")) {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "="); ok && !strings.HasPrefix(line, "#") {
				vars[name] = value
			}
		}
	}
	return vars
}

// expand puts the values of variables that are known in their place, down to a
// few that hold each other.
func expand(arg string, vars map[string]string) string {
	for range 4 {
		next := grubUse.ReplaceAllStringFunc(arg, func(use string) string {
			if v, ok := vars[use[2:len(use)-1]]; ok {
				return v
			}
			return use
		})
		if next == arg {
			break
		}
		arg = next
	}
	return arg
}

// toRAM names the first entry that copies the medium into memory, "" where none
// does.
func (m *bootMenus) toRAM() string {
	for i := range m.entries {
		if _, ok := m.entries[i].value("toram"); ok || m.entries[i].has("toram") {
			return m.entries[i].name()
		}
	}
	return ""
}

// said is one thing that entries of menus say, and which does.
type said struct {
	value string
	entry string // for people
}

// says returns what of the entries says, each value once. Entries that say nothing
// give "" where what tells so.
func (m *bootMenus) says(what func(b *bootEntry) (string, bool)) (out []said) {
	for i := range m.entries {
		b := &m.entries[i]
		v, ok := what(b)
		if ok && !slices.ContainsFunc(out, func(s said) bool { return s.value == v }) {
			out = append(out, said{v, b.name()})
		}
	}
	return out
}

// sure leaves out the values in which a variable of GRUB is not known.
func sure(all []said) []said {
	return slices.DeleteFunc(slices.Clone(all), func(s said) bool { return strings.Contains(s.value, "${") })
}
