package menu

import (
	"fmt"
	"slices"
	"strings"
)

// TextOptions say how a menu is written.
type TextOptions struct {
	// UI is the module of SYSLINUX that shows the menu ("vesamenu.c32",
	// "menu.c32"); without one there is a prompt, and the entries' names above it.
	UI string
	// Label, UUID and File are how GRUB finds the medium: by its volume label, by
	// the UUID of its file system, by a file on it; the first that is not empty
	// counts. Without any it takes the volume that it was loaded from.
	Label, UUID, File string
}

// Text writes the menu for Syslinux or GRUB. Entries need a title and a kernel.
// Errors are ErrEdits for what the form cannot hold, such as a line end in a
// title, a blank in a path of SYSLINUX, or a quote that is not closed.
func (m *Menu) Text(kind Kind, o TextOptions) ([]byte, error) {
	if m.Timeout < 0 || m.Timeout > 3599 {
		return nil, fmt.Errorf("%w: a timeout of %d s", ErrEdits, m.Timeout)
	}
	if len(m.Entries) == 0 || m.Default < 0 || m.Default >= len(m.Entries) {
		return nil, fmt.Errorf("%w: entry %d of %d by default", ErrEdits, m.Default, len(m.Entries))
	}
	args := make([][]string, len(m.Entries)) // canonical
	for i, e := range m.Entries {
		for _, s := range append([]string{m.Title, e.Title, e.Kernel, o.UI, o.Label, o.UUID, o.File}, e.Initrd...) {
			if err := oneLine("text", s); err != nil {
				return nil, err
			}
		}
		if strings.TrimSpace(e.Title) == "" || e.Kernel == "" || e.Kernel[0] == '-' || slices.Contains(e.Initrd, "") {
			return nil, fmt.Errorf("%w: entry %d has no title, or no path of a kernel or an initrd", ErrEdits, i)
		}
		for _, a := range e.Args {
			c, err := canonical(a)
			if err != nil {
				return nil, err
			}
			args[i] = append(args[i], c)
		}
	}
	switch kind {
	case Syslinux:
		return m.syslinux(args, o)
	case GRUB:
		return m.grub(args, o)
	}
	return nil, fmt.Errorf("%w: a menu of the kind %s is one file for each entry", ErrEdits, kind)
}

func (m *Menu) syslinux(args [][]string, o TextOptions) ([]byte, error) {
	var b strings.Builder
	if o.UI != "" {
		if strings.ContainsFunc(o.UI, isBlank) {
			return nil, fmt.Errorf("%w: a module %q", ErrEdits, o.UI)
		}
		fmt.Fprintf(&b, "UI %s\n", o.UI)
	} else {
		b.WriteString("PROMPT 1\n")
	}
	if m.Title != "" {
		fmt.Fprintf(&b, "MENU TITLE %s\n", m.Title)
		if o.UI == "" {
			fmt.Fprintf(&b, "SAY %s\n", m.Title)
		}
	}
	fmt.Fprintf(&b, "TIMEOUT %d\nDEFAULT entry%d\n", m.Timeout*10, m.Default+1)
	if o.UI == "" {
		for i, e := range m.Entries {
			fmt.Fprintf(&b, "SAY entry%d: %s\n", i+1, e.Title)
		}
	}
	for i, e := range m.Entries {
		// SYSLINUX takes a caret in a title for the mark of a key, and has no
		// escape for it.
		if strings.Contains(e.Title, "^") || strings.TrimFunc(e.Title, func(r rune) bool { return r <= ' ' }) != e.Title {
			return nil, fmt.Errorf("%w: the title %q, with a caret or blanks around it, for SYSLINUX", ErrEdits, e.Title)
		}
		fmt.Fprintf(&b, "\nLABEL entry%d\n  MENU LABEL %s\n", i+1, e.Title)
		for k, p := range append([]string{e.Kernel}, e.Initrd...) {
			if p == "" || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r == ',' && k > 0 }) {
				return nil, fmt.Errorf("%w: the path %q for SYSLINUX", ErrEdits, p)
			}
		}
		fmt.Fprintf(&b, "  LINUX %s\n", e.Kernel)
		if len(e.Initrd) > 0 {
			fmt.Fprintf(&b, "  INITRD %s\n", strings.Join(e.Initrd, ","))
		}
		if len(args[i]) == 0 {
			continue
		}
		b.WriteString("  APPEND")
		for _, a := range args[i] {
			if strings.HasPrefix(a, "initrd=") {
				return nil, fmt.Errorf("%w: initrd= as an argument of SYSLINUX's, which names images of its own", ErrEdits)
			}
			b.WriteString(" " + quoted(a))
		}
		b.WriteByte('\n')
	}
	return []byte(b.String()), nil
}

func (m *Menu) grub(args [][]string, o TextOptions) ([]byte, error) {
	var b strings.Builder
	d := grubWords{}
	put := func(words ...string) {
		for i, w := range words {
			if i > 0 {
				b.WriteByte(' ')
			}
			text, _ := d.whole(w) // of one line, which is seen to
			b.WriteString(text)
		}
		b.WriteByte('\n')
	}
	if m.Title != "" {
		fmt.Fprintf(&b, "# %s\n", m.Title)
	}
	timeout := m.Timeout
	if timeout == 0 {
		timeout = -1
	}
	fmt.Fprintf(&b, "set timeout=%d\nset default=%d\n", timeout, m.Default)
	switch {
	case o.Label != "":
		put("search", "--no-floppy", "--set=root", "--label", o.Label)
	case o.UUID != "":
		put("search", "--no-floppy", "--set=root", "--fs-uuid", o.UUID)
	case o.File != "":
		put("search", "--no-floppy", "--set=root", "--file", o.File)
	}
	// Kernels that were started by EFI draw on what GRUB has set up.
	b.WriteString("if [ \"$grub_platform\" = efi ]; then\n\tinsmod all_video\n\tset gfxpayload=keep\nfi\n")
	for i, e := range m.Entries {
		title, _ := d.whole(e.Title)
		if title == e.Title {
			title = "'" + title + "'"
		}
		if strings.HasPrefix(e.Title, "-") {
			return nil, fmt.Errorf("%w: the title %q for GRUB, which takes it for an option", ErrEdits, e.Title)
		}
		fmt.Fprintf(&b, "\nmenuentry %s {\n\t", title)
		put(append([]string{"linux", e.Kernel}, args[i]...)...)
		if len(e.Initrd) > 0 {
			b.WriteByte('\t')
			put(append([]string{"initrd"}, e.Initrd...)...)
		}
		b.WriteString("}\n")
	}
	return []byte(b.String()), nil
}
