package menu

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// fixture is a menu in a form that media have, and where it lies there.
type fixture struct {
	file string // in testdata
	path string // on the medium
	kind Kind
}

var fixtures = []fixture{
	{"antix-isolinux.cfg", "boot/isolinux/isolinux.cfg", Syslinux},
	{"antix-grub.cfg", "boot/grub/grub.cfg", GRUB},
	{"lorax-isolinux.cfg", "isolinux/isolinux.cfg", Syslinux},
	{"lorax-grub2-efi.cfg", "EFI/BOOT/grub.cfg", GRUB},
	{"archiso-sys.cfg", "syslinux/archiso_sys.cfg", Syslinux},
	{"archiso-entry.conf", "loader/entries/01-archiso.conf", Loader},
	{"casper-grub.cfg", "boot/grub/loopback.cfg", GRUB},
	{"live-build.cfg", "isolinux/live.cfg", Syslinux},
}

func (f fixture) read(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", f.file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// everything are edits that are about most of the fixtures' lines.
func everything() *Edits {
	e := &Edits{
		Add:    []string{"lang=de_DE", "toram", `opt="a b"`},
		Labels: map[string]string{"Sample-WS-Live-40": "NEW LABEL", "SAMPLE_2026": "N_2027"},
		UUIDs:  map[string]string{"1234-abcd": "AAAA-BBBB"},
		Paths:  map[string]string{"/antiX": "/live2", "/arch/boot": "/b", "arch": "/brch"},
		Title:  "New title",
		Titles: []TitleEdit{{"Sample", "Other Sample"}},
	}
	for _, l := range []string{"antix", "liveos", "archiso", "casper", "debian"} {
		e.Remove = append(e.Remove, Persistence(l)...)
	}
	return e
}

// Apply without edits gives the same bytes; twice is once.
func TestApplyLaws(t *testing.T) {
	for _, f := range fixtures {
		text := f.read(t)
		for name, text := range map[string][]byte{
			"as it is": text, "CR LF": bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), "no final line feed": bytes.TrimRight(text,
				"\n"),
		} {
			if k, ok := KindOf(f.path, text); k != f.kind || !ok {
				t.Errorf("%s: %v, %v", f.file, k, ok)
			}
			out, changes, err := new(Edits).Apply(f.kind, f.path, text)
			if err != nil || !bytes.Equal(out, text) || changes != nil {
				t.Errorf("%s, %s: without edits: %v %v\n%s", f.file, name, changes, err, out)
			}
			once, changes, err := everything().Apply(f.kind, f.path, text)
			if err != nil || len(changes) == 0 || bytes.Equal(once, text) {
				t.Fatalf("%s, %s: %v, %v", f.file, name, changes, err)
			}
			twice, changes, err := everything().Apply(f.kind, f.path, once)
			if err != nil || !bytes.Equal(twice, once) {
				t.Errorf("%s, %s: the second time: %v %v\n%s", f.file, name, changes, err, twice)
			}
			for _, c := range changes {
				if c.Left == "" {
					t.Errorf("%s, %s: the second time: %v", f.file, name, c)
				}
			}
		}
	}
}

// argumentsAfter is what edits make of an entry's arguments, by the words of
// the documentation.
func argumentsAfter(e *Edits, args []string) (out []string) {
	for _, a := range args {
		name, value, has := strings.Cut(a, "=")
		gone := slices.ContainsFunc(e.Remove, func(p string) bool {
			switch pn, pv, pHas := strings.Cut(p, "="); {
			case p == "rd.*":
				return strings.HasPrefix(name, "rd.")
			case !pHas:
				return p == name
			case pv == "":
				return pn == name && has
			default:
				return pn == name && pv == value
			}
		})
		taken := has && !several(name) && slices.ContainsFunc(e.Add, func(add string) bool { return strings.HasPrefix(add, name+"=") })
		if !gone || taken || slices.Contains(e.Add, a) || strings.Trim(a, "-") == "" {
			out = append(out, a)
		}
	}
	for _, add := range e.Add {
		front := out
		if i := slices.Index(out, "--"); i >= 0 {
			front = out[:i]
		}
		if slices.Contains(front, add) {
			continue
		}
		if name, _, has := strings.Cut(add, "="); has && !several(name) {
			i := slices.IndexFunc(front, func(a string) bool { return strings.HasPrefix(a, name+"=") })
			if i >= 0 {
				out = slices.Clone(out)
				out[i] = add
				continue
			}
		}
		i := slices.IndexFunc(out, func(a string) bool { return a == "--" || a == "---" })
		if i < 0 {
			i = len(out)
		}
		out = slices.Insert(slices.Clone(out), i, add)
	}
	return out
}

// Entries read after Apply differ by what was asked for and nothing else.
func TestReadAfterApply(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	for _, f := range fixtures {
		text := f.read(t)
		before, err := Read(f.kind, f.path, text)
		if err != nil || len(before) == 0 {
			t.Fatal(f.file, before, err)
		}
		var seen []string // arguments that there are
		for _, e := range before {
			seen = append(seen, e.Args...)
		}
		seen = slices.DeleteFunc(seen, func(a string) bool { return strings.Contains(a, "$") || strings.Trim(a, "-") == "" })
		for range 200 {
			e := &Edits{}
			for range r.IntN(3) {
				p := seen[r.IntN(len(seen))]
				name, _, has := strings.Cut(p, "=")
				switch r.IntN(4) {
				case 0:
					p = name
				case 1:
					p = "rd.*"
				case 2:
					if has {
						p = name + "="
					}
				}
				e.Remove = append(e.Remove, p)
			}
			names := map[string]bool{}
			for range r.IntN(4) {
				p := []string{"quiet", "toram", "lang=de_DE", "console=ttyS0", "opt=x", "boot=other", seen[r.IntN(len(seen))]}[r.IntN(7)]
				if name, _, _ := strings.Cut(p, "="); !names[name] {
					names[name] = true
					e.Add = append(e.Add, p)
				}
			}
			out, _, err := e.Apply(f.kind, f.path, text)
			if err != nil {
				t.Fatal(err)
			}
			after, err := Read(f.kind, f.path, out)
			if err != nil {
				t.Fatal(err)
			}
			want := slices.Clone(before)
			for i := range want {
				if want[i].Linux() {
					want[i].Args = argumentsAfter(e, want[i].Args)
				}
			}
			if !reflect.DeepEqual(normal(after), normal(want)) {
				t.Fatalf("%s: +%q -%q:\n%q\nnot\n%q", f.file, e.Add, e.Remove, after, want)
			}
		}
	}
}

// normal makes no difference between no arguments and an empty list of them.
func normal(entries []Entry) []Entry {
	out := slices.Clone(entries)
	for i := range out {
		out[i].Args = append([]string{}, out[i].Args...)
		out[i].Initrd = append([]string{}, out[i].Initrd...)
	}
	return out
}

// randomMenu makes a menu of whatever the forms can hold.
func randomMenu(r *rand.Rand, kind Kind) *Menu {
	chars := "abcXYZ019-_.,:@%+=/*?!~^()[]#$&;<>|{}'\\\xe4\xc3\xa4"
	if kind == Syslinux {
		chars = strings.ReplaceAll(strings.ReplaceAll(chars, "^", ""), ",", "")
	}
	text := func(extra string, from, to int) string {
		all := chars + extra
		var b strings.Builder
		for range from + r.IntN(to-from) {
			b.WriteByte(all[r.IntN(len(all))])
		}
		return b.String()
	}
	m := &Menu{Title: text(" \"", 0, 20), Timeout: r.IntN(100)}
	for range 1 + r.IntN(4) {
		e := Entry{Title: "T" + text(" \"", 0, 20) + ".", Kernel: "/" + text("", 1, 20)}
		for range r.IntN(3) {
			e.Initrd = append(e.Initrd, "/"+text("", 1, 12))
		}
		for range r.IntN(5) {
			a := "a" + text("", 0, 10)
			if r.IntN(4) == 0 {
				a = `b="` + text("", 0, 5) + " " + text(" ", 0, 5) + `"`
			}
			e.Args = append(e.Args, a)
		}
		m.Entries = append(m.Entries, e)
	}
	m.Default = r.IntN(len(m.Entries))
	return m
}

// Read gives back what Menu.Text has written; a second Text is the same.
func TestTextLaw(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 1))
	for i := range 600 {
		kind := []Kind{Syslinux, GRUB}[i%2]
		m := randomMenu(r, kind)
		o := []TextOptions{{}, {UI: "menu.c32", Label: "A'B C"}, {UUID: "1234-ABCD"}, {File: "/live/a b"}}[r.IntN(4)]
		text, err := m.Text(kind, o)
		if err != nil {
			t.Fatalf("%v: %+v: %v", kind, m, err)
		}
		got, err := Read(kind, "x", text)
		if err != nil {
			t.Fatalf("%v: %v\n%s", kind, err, text)
		}
		want := normal(m.Entries)
		if kind == GRUB {
			for i := range want { // only Linux's command is read
				if !reflect.DeepEqual(normal(got)[i], want[i]) {
					t.Fatalf("%q\nis read as\n%q\n%s", want[i], got[i], text)
				}
			}
		}
		if !reflect.DeepEqual(normal(got), want) {
			t.Fatalf("%v: %q\nis read as\n%q\n%s", kind, want, got, text)
		}
	}
}

func TestTextRefused(t *testing.T) {
	good := Entry{Title: "a", Kernel: "/k"}
	for _, c := range []struct {
		kind Kind
		m    Menu
	}{
		{Syslinux, Menu{}},
		{Loader, Menu{Entries: []Entry{good}}},
		{GRUB, Menu{Entries: []Entry{good}, Default: 1}},
		{GRUB, Menu{Entries: []Entry{good}, Timeout: -1}},
		{GRUB, Menu{Entries: []Entry{{Title: "a\nb", Kernel: "/k"}}}},
		{GRUB, Menu{Entries: []Entry{{Title: "--x", Kernel: "/k"}}}},
		{GRUB, Menu{Entries: []Entry{{Title: "a"}}}},
		{GRUB, Menu{Entries: []Entry{{Title: "a", Kernel: "/k", Args: []string{"a b"}}}}},
		{Syslinux, Menu{Entries: []Entry{{Title: "a", Kernel: "/k k"}}}},
		{Syslinux, Menu{Entries: []Entry{{Title: "a^", Kernel: "/k"}}}},
		{Syslinux, Menu{Entries: []Entry{{Title: "a", Kernel: "/k", Initrd: []string{"/a,b"}}}}},
		{Syslinux, Menu{Entries: []Entry{{Title: "a", Kernel: "/k", Args: []string{"initrd=/x"}}}}},
	} {
		if text, err := c.m.Text(c.kind, TextOptions{}); err == nil {
			t.Errorf("%v: %+v: %s", c.kind, c.m, text)
		}
	}
}

func TestText(t *testing.T) {
	m := &Menu{Title: "Sample", Timeout: 10, Default: 1, Entries: []Entry{
		{Title: "Live", Kernel: "/live/vmlinuz", Initrd: []string{"/live/ucode.img", "/live/initrd.img"},
			Args: []string{"quiet", `opt="a b"`}},
		{Title: "It's safe", Kernel: "/live/vmlinuz"},
	}}
	for kind, want := range map[Kind]string{
		Syslinux: `UI vesamenu.c32
MENU TITLE Sample
TIMEOUT 100
DEFAULT entry2

LABEL entry1
  MENU LABEL Live
  LINUX /live/vmlinuz
  INITRD /live/ucode.img,/live/initrd.img
  APPEND quiet opt="a b"

LABEL entry2
  MENU LABEL It's safe
  LINUX /live/vmlinuz
`,
		GRUB: `# Sample
set timeout=10
set default=1
search --no-floppy --set=root --label 'MY LIVE'
if [ "$grub_platform" = efi ]; then
	insmod all_video
	set gfxpayload=keep
fi

menuentry 'Live' {
	linux /live/vmlinuz quiet 'opt=a b'
	initrd /live/ucode.img /live/initrd.img
}

menuentry "It's safe" {
	linux /live/vmlinuz
}
`,
	} {
		got, err := m.Text(kind, TextOptions{UI: "vesamenu.c32", Label: "MY LIVE"})
		if err != nil || string(got) != want {
			t.Errorf("%v: %v\n%s", kind, err, got)
		}
	}
	got, err := m.Text(Syslinux, TextOptions{})
	if err != nil || !strings.Contains(string(got), "PROMPT 1\n") || !strings.Contains(string(got), "SAY entry2: It's safe\n") {
		t.Errorf("%v\n%s", err, got)
	}
}
