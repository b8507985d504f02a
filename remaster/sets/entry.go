package sets

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/menu"
	"relive/remaster/newfile"
	"relive/remaster/readback"
	"relive/remaster/refusal"
	"relive/remaster/say"
)

// EntryKind is the form of a boot entry.
type EntryKind string

// The forms.
const (
	EntryGRUB     EntryKind = "grub"
	EntrySyslinux EntryKind = "syslinux"
	EntryFrugal   EntryKind = "grub.entry" // of a frugal install: it finds its volume by itself
)

// EntryOptions say what a boot entry of a set is like.
type EntryOptions struct {
	// Kind is the form, "" for that of File, or of the menu whose entry is the
	// model.
	Kind EntryKind
	// File is a menu that the entry is put into; "" for none.
	File string
	// Title is the entry's, "" for the model's with the set's name.
	Title string
	// Mode is how the set is used: persist_all, persist_root, persist_static,
	// p_static_root or persist_home; "" decides by what the set holds.
	Mode string
	// AddArgs are further arguments.
	AddArgs []string
}

// EntryModes are the values of EntryOptions.Mode (initrd/init: the short cuts of
// its menus).
var EntryModes = []string{"persist_all", "persist_root", "persist_static", "p_static_root", "persist_home"}

// Entry is a boot entry of a set.
type Entry struct {
	Set    string    `json:"set"`
	Kind   EntryKind `json:"kind"`
	Title  string    `json:"title"`
	Model  string    `json:"model,omitempty"` // menu and title of the entry that it follows
	Kernel string    `json:"kernel"`
	Initrd []string  `json:"initrd"`
	Args   []string  `json:"args"`
	Text   string    `json:"text"`
	// File is the menu that it is for; Present tells that it holds the entry
	// already.
	File     string   `json:"file,omitempty"`
	Present  bool     `json:"present"`
	Warnings []string `json:"warnings"`

	menu, out []byte // the menu before and after
}

// NewEntry makes the boot entry of a set. Kernel, initrd and arguments are
// those of the medium's own entry for this live directory; arguments about
// persistence give way to the set's. It writes nothing.
func NewEntry(ctx context.Context, dir, name string, o EntryOptions) (*Entry, error) {
	f, err := live.Find(dir, live.AnySet())
	if err != nil {
		return nil, err
	}
	if t := f.Layout.Traits(); t.Sets != live.SetDirectories {
		return nil, refusal.New(refusal.UnsupportedLayout, cmp.Or(t.NoEntries, t.OtherSets),
			"%s: boot entries are made for sets of antiX and MX", dir)
	}
	if name, err = live.SetName(f.Dir, name); err != nil {
		return nil, err
	}
	if name != live.DefaultSet {
		if f, err = live.Find(dir, live.WithSet(name)); err != nil {
			return nil, err
		}
	}
	v := ReadBootMenus(ctx, f)
	e := &Entry{Set: name, Warnings: []string{}, Initrd: []string{}}
	if err := e.kind(v, &o); err != nil {
		return nil, err
	}
	model, err := e.base(f, v)
	if err != nil {
		return nil, err
	}
	if err := e.arguments(f, v, model, &o); err != nil {
		return nil, err
	}
	if e.Title = o.Title; e.Title == "" {
		e.Title = "antiX live: " + name
		if model != nil && strings.TrimSpace(model.Title) != "" && !strings.Contains(model.Title, "$") {
			e.Title = strings.TrimSpace(model.Title) + ": " + strings.TrimPrefix(name, "../")
		}
	}
	if o.File == "" {
		return e, e.write(v, model, nil)
	}
	return e, e.place(v, model, &o)
}

// kind decides on the form and reads the menu.
func (e *Entry) kind(v *BootMenus, o *EntryOptions) error {
	if o.Kind != "" && !slices.Contains([]EntryKind{EntryGRUB, EntrySyslinux, EntryFrugal}, o.Kind) {
		return refusal.Option(fmt.Errorf(say.Kind+" %s: neither grub, syslinux nor grub.entry", o.Kind))
	}
	e.Kind, e.File = o.Kind, o.File
	if o.File != "" {
		text, err := os.ReadFile(o.File)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if len(text) > menu.MaxText {
			return refusal.New(refusal.WrongKind, "name another menu", "%s: %d bytes are too many for a menu", o.File, len(text))
		}
		e.menu = text
		if e.Kind == "" {
			abs, err := filepath.Abs(o.File)
			if err != nil {
				return err
			}
			switch kind, ok := menu.KindOf(abs, text); {
			case ok && kind == menu.Syslinux:
				e.Kind = EntrySyslinux
			case ok && kind == menu.GRUB && filepath.Base(o.File) == "grub.entry":
				e.Kind = EntryFrugal
			case ok && kind == menu.GRUB:
				e.Kind = EntryGRUB
			default:
				return refusal.New(refusal.WrongKind, "say with "+say.Kind+" what it is",
					"%s: cannot be told for a menu of GRUB or SYSLINUX", o.File)
			}
		}
	}
	for i := range v.entries {
		if e.Kind != "" {
			break
		}
		if _, ok := v.set(&v.entries[i]); ok {
			e.Kind = entryKindOf(&v.entries[i])
		}
	}
	if e.Kind == "" {
		e.Kind = EntryGRUB
	}
	return nil
}

func entryKindOf(e *bootEntry) EntryKind {
	switch {
	case filepath.Base(e.file) == "grub.entry":
		return EntryFrugal
	case e.kind == menu.Syslinux:
		return EntrySyslinux
	}
	return EntryGRUB
}

// base takes kernel and initrd of the first entry of the live directory, of the
// same form if there is one; otherwise those that lie in it.
func (e *Entry) base(f *live.Found, v *BootMenus) (model *bootEntry, err error) {
	for pass := range 3 { // each less choosy
		for i := range v.entries {
			m := &v.entries[i]
			if set, ok := v.set(m); ok && model == nil && (pass > 1 || entryKindOf(m) == e.Kind) && (pass > 0 || set == live.DefaultSet) {
				model = m
			}
		}
	}
	if model != nil {
		e.Model = model.file + ": " + model.Title
		if !slices.ContainsFunc(append([]string{model.Kernel}, model.Initrd...), func(s string) bool { return strings.Contains(s, "$") }) {
			e.Kernel, e.Initrd = model.Kernel, append(e.Initrd, model.Initrd...)
			return model, nil
		}
	}
	own, ok := v.path(".")
	pairs, err := f.Kernels()
	if err != nil {
		return nil, err
	}
	if !ok || len(pairs) == 0 {
		return nil, refusal.New(refusal.NotFound, "put its kernel and initrd there, or an entry for it into a menu",
			"%s: has no vmlinuz with an initrd, and no menu has an entry for it", f.Dir)
	}
	e.Kernel = path.Join("/", own, pairs[0].Kernel)
	e.Initrd = append(e.Initrd, path.Join("/", own, pairs[0].Initrd))
	return model, nil
}

// arguments makes the kernel's arguments.
func (e *Entry) arguments(f *live.Found, v *BootMenus, model *bootEntry, o *EntryOptions) error {
	own, ok := v.path(".")
	if !ok {
		return refusal.New(refusal.NotFound, "add the arguments by hand", "%s: its place on its file system is unknown", f.Dir)
	}
	var args []string
	if model != nil {
		args = slices.DeleteFunc(slices.Clone(model.Args), func(a string) bool { return strings.Contains(a, "$") })
	}
	mode := o.Mode
	root, home := live.Has(f.Place, filepath.Join(f.Dir, f.Files.Overlay[0])), live.Has(f.Place, filepath.Join(f.Dir, f.Files.Home))
	switch {
	case mode != "" && !slices.Contains(EntryModes, mode):
		return refusal.Option(fmt.Errorf(say.Mode+" %s: none of %s", mode, strings.Join(EntryModes, ", ")))
	case mode != "":
	case root && !home:
		mode = "persist_root"
	case home && !root:
		mode = "persist_home"
	default:
		mode = "persist_all"
	}
	add := []string{mode}
	if !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "bdir=") || strings.HasPrefix(a, "bootdir=") }) &&
		own != antixDir {
		add = append(add, "bdir="+own)
	}
	if e.Set != live.DefaultSet {
		pdir, ok := v.path(e.Set)
		if !ok {
			return refusal.New(refusal.NotFound, "boot it with pdir= and puuid= by hand",
				"%s: does not lie on the file system of the live directory", filepath.Join(f.Dir, e.Set))
		}
		if strings.ContainsFunc(pdir, func(r rune) bool { return r <= ' ' || strings.ContainsRune("*?[]'\"\\$", r) }) {
			return refusal.New(refusal.InvalidName, say.RenameSet+" gives it another one", "%s: init would not find a set of that name",
				pdir)
		}
		add = append(add, "pdir="+pdir)
		here, err := hostdisk.StampOf(f.Dir)
		if err != nil {
			return err
		}
		there, err := hostdisk.StampOf(filepath.Join(f.Dir, e.Set))
		if err != nil {
			return err
		}
		if here.Dev != there.Dev && !slices.ContainsFunc(o.AddArgs, namesVolume) {
			return refusal.New(refusal.NotFound, "name it with "+say.AddArg+" puuid=<UUID> (or plab=, pdev=)",
				"%s: lies on another file system than the live directory, and a boot has to be told which", filepath.Join(f.Dir, e.Set))
		}
	}
	// The rules of arguments are those of menus: what is said of persistence goes,
	// what is new comes behind the others and not twice.
	m := menu.Menu{Entries: []menu.Entry{{Title: "x", Kernel: e.Kernel, Args: args}}}
	text, err := m.Text(menu.GRUB, menu.TextOptions{})
	if err != nil {
		return err
	}
	edits := menu.Edits{Remove: menu.Persistence(f.Layout.Traits().Key), Add: append(add, o.AddArgs...)}
	if text, _, err = edits.Apply(menu.GRUB, "grub.cfg", text); err != nil {
		return refusal.Option(err)
	}
	entries, err := menu.Read(menu.GRUB, "grub.cfg", text)
	if err != nil || len(entries) != 1 {
		return fmt.Errorf("the arguments of %s: %w", e.Model, err)
	}
	e.Args = entries[0].Args
	return nil
}

// namesVolume reports whether an argument says which volume the sets are on.
func namesVolume(arg string) bool {
	name, _, _ := strings.Cut(arg, "=")
	return slices.Contains([]string{"puuid", "persistuuid", "plab", "plabel", "persistlabel", "pdev", "persistdev"}, name)
}

// antixDir is where init looks for the live directory unless it is told (BOOT_DIR
// in initrd/init).
const antixDir = "antiX"

// write makes the entry's text. taken are names of labels that are in use.
func (e *Entry) write(v *BootMenus, model *bootEntry, taken map[string]bool) error {
	kind := menu.GRUB
	if e.Kind == EntrySyslinux {
		kind = menu.Syslinux
	}
	m := menu.Menu{Entries: []menu.Entry{{Title: e.Title, Kernel: e.Kernel, Initrd: e.Initrd, Args: e.Args}}}
	text, err := m.Text(kind, menu.TextOptions{})
	if err != nil {
		return refusal.Option(err)
	}
	mark := "\nmenuentry "
	if kind == menu.Syslinux {
		mark = "\nLABEL entry1\n"
	}
	_, entry, ok := strings.Cut(string(text), mark)
	if !ok {
		return fmt.Errorf("%s: the entry cannot be written", e.Title)
	}
	switch e.Kind {
	case EntrySyslinux:
		label := "set-" + strings.NewReplacer("/", "-", "@", "-", "+", "-").Replace(strings.TrimPrefix(e.Set, "../"))
		for base, i := label, 2; taken[strings.ToLower(label)]; i++ {
			label = fmt.Sprintf("%s-%d", base, i)
		}
		e.Text = "LABEL " + label + "\n" + entry
	case EntryFrugal:
		head, body, _ := strings.Cut(entry, "\n")
		e.Text = "menuentry " + head + "\n" + v.finding(model) + body
	default:
		e.Text = "menuentry " + entry
	}
	return nil
}

// finding returns the commands by which an entry of GRUB finds the volume: those
// of the model, or a search for the base.
func (v *BootMenus) finding(model *bootEntry) string {
	var b strings.Builder
	if model != nil && filepath.Base(model.file) == "grub.entry" {
		text, err := os.ReadFile(model.file)
		if err == nil {
			_, text, _ = bytes.Cut(text, []byte("{"))
			text, _, _ = bytes.Cut(text, []byte("linux"))
			for line := range strings.SplitSeq(string(text), "\n") {
				line = strings.TrimSpace(line)
				switch word, _, _ := strings.Cut(line, " "); word {
				case "insmod", "search", "cryptomount", "set":
					b.WriteString("\t" + line + "\n")
				}
			}
		}
	}
	if b.Len() == 0 {
		own, _ := v.path(live.AntixBase)
		fmt.Fprintf(&b, "\tsearch --no-floppy --set=root --file %s\n", path.Join("/", own))
	}
	return b.String()
}

// place puts the entry behind all that a menu holds, unless it holds it already.
func (e *Entry) place(v *BootMenus, model *bootEntry, o *EntryOptions) error {
	kind := menu.GRUB
	if e.Kind == EntrySyslinux {
		kind = menu.Syslinux
	}
	before, err := menu.Read(kind, o.File, e.menu)
	if err != nil {
		return err
	}
	titles, taken := map[string]bool{}, map[string]bool{}
	for _, m := range before {
		titles[strings.TrimSpace(m.Title)] = true
		if m.Kernel == e.Kernel && sameArguments(m.Args, e.Args) {
			e.Present, e.Title, e.out = true, m.Title, e.menu
			return e.write(v, model, nil)
		}
	}
	for base, i := e.Title, 2; titles[strings.TrimSpace(e.Title)]; i++ {
		e.Title = fmt.Sprintf("%s (%d)", base, i)
	}
	for line := range bytes.SplitSeq(e.menu, []byte("\n")) {
		if words := strings.Fields(string(line)); len(words) > 1 && strings.EqualFold(words[0], "label") {
			taken[strings.ToLower(words[1])] = true
		}
	}
	if err := e.write(v, model, taken); err != nil {
		return err
	}
	end := "\n"
	if bytes.Contains(e.menu, []byte("\r\n")) {
		end = "\r\n"
	}
	out := bytes.Clone(e.menu)
	if len(out) > 0 {
		if out[len(out)-1] != '\n' {
			out = append(out, end...)
		}
		out = append(out, end...)
	}
	e.out = append(out, strings.ReplaceAll(e.Text, "\n", end)...)
	after, err := menu.Read(kind, o.File, e.out)
	if err != nil || len(after) != len(before)+1 || after[len(before)].Kernel != e.Kernel ||
		!slices.EqualFunc(before, after[:len(before)], func(a, b menu.Entry) bool {
			return a.Title == b.Title && a.Kernel == b.Kernel && slices.Equal(a.Args, b.Args)
		}) {
		return refusal.New(refusal.InTheWay, "put the entry that "+say.Entry+" prints into it by hand",
			"%s: what stands at its end would swallow the entry", o.File)
	}
	return nil
}

// sameArguments reports whether two lists hold the same arguments.
func sameArguments(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// Write puts the entry into the menu: the new menu is written beside the old one,
// synced, and takes its place in one rename. Where it is there already nothing is
// done. A menu that is a symlink stays one: what it leads to is replaced.
func (e *Entry) Write() (err error) {
	if e.File == "" || e.Present {
		return nil
	}
	o := newfile.Options{Force: true, Perm: 0o644}
	if live.Has(live.Host{}, e.File) {
		o.Like = e.File
	}
	out, err := newfile.Create(e.File, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Discard()) }()
	// What other runs write is known from here on.
	now, err := os.ReadFile(out.Path())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !bytes.Equal(now, e.menu) {
		return refusal.New(refusal.Changed, "begin again", "%s: changed while the entry was made", out.Path())
	}
	if _, err := out.Write(e.out); err != nil {
		return err
	}
	return out.Commit(context.Background(), func(f *os.File) error { return holdsText(f, e.out) })
}

// holdsText is an error where a file does not hold that text.
func holdsText(f *os.File, text []byte) error {
	back, err := io.ReadAll(io.NewSectionReader(f, 0, int64(len(text))+1))
	if err != nil || !bytes.Equal(back, text) {
		return fmt.Errorf("%s: %w", f.Name(), errors.Join(readback.Err, err))
	}
	return nil
}
