package menu

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"relive/tree/systest"
)

// converted reads a configuration of SYSLINUX with GRUB's own reader of them.
func converted(t *testing.T, text []byte) []Entry {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "isolinux")
	systest.Must(t, os.Mkdir(dir, 0o700))
	file := filepath.Join(dir, "isolinux.cfg")
	systest.Must(t, os.WriteFile(file, text, 0o600))
	out := systest.Output(t, "grub-syslinux2cfg", "-i", "-r", root, "-t", "/", "-c", dir, "-T", "/isolinux", file)
	entries, err := Read(GRUB, "converted", []byte(out))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for i := range entries {
		e := &entries[i]
		// initrd= is an argument there and an image as well, which is named in full.
		var args []string
		for _, a := range e.Args {
			if !strings.HasPrefix(a, "initrd=") {
				args = append(args, a)
			}
		}
		e.Args = args
		if e.Kernel != "" {
			e.Kernel = path.Clean(e.Kernel)
		}
		for k := range e.Initrd {
			e.Initrd[k] = path.Clean(e.Initrd[k])
		}
	}
	return entries
}

// linuxOnly returns the entries that boot Linux, their paths in full.
func linuxOnly(entries []Entry) (out []Entry) {
	full := func(p string) string {
		if !strings.HasPrefix(p, "/") {
			p = "/isolinux/" + p
		}
		return p
	}
	for _, e := range entries {
		if e.Linux() && e.Kernel != "/boot/grub/i386-pc/lnxboot.img" {
			e.Kernel = full(e.Kernel)
			e.Initrd = append([]string{}, e.Initrd...)
			for i := range e.Initrd {
				e.Initrd[i] = full(e.Initrd[i])
			}
			e.Args = append([]string{}, e.Args...)
			out = append(out, e)
		}
	}
	return out
}

// What is read of SYSLINUX is what GRUB reads, before and after edits.
func TestSyslinuxAsGRUB(t *testing.T) {
	systest.NeedTools(t, "grub-syslinux2cfg")
	var texts [][]byte
	for _, f := range fixtures {
		// That reader knows no "::" and wants what is included; it does not quote what
		// it writes either.
		if f.kind == Syslinux && f.file != "archiso-sys.cfg" && f.file != "live-build.cfg" {
			texts = append(texts, f.read(t))
		}
	}
	r := rand.New(rand.NewPCG(6, 4))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	for range 4 {
		var b strings.Builder
		b.WriteString(pick("", "append global quiet\n", "# append no\n"))
		b.WriteString("timeout 100\n")
		for i := range 100 {
			fmt.Fprintf(&b, "%s l%d\n", pick("label", "LABEL", " Label", "\tlabel"), i)
			lines := []string{
				pick("kernel", "KERNEL", "linux") + pick(" ", "\t ") + pick("/live/vmlinuz", "vmlinuz0", "/boot/bzImage"),
				pick("# comment", "", "menu label Title one", "MENU LABEL  ^Two words", "text help\n append no\nendtext"),
				pick("", "initrd /a/initrd.img", "INITRD /a/ucode.img,/a/initrd.img"),
			}
			if r.IntN(5) > 0 {
				lines = append(lines, pick("append", "APPEND", "\tappend")+" "+pick("", "quiet", "a b=c  d",
					"root=live:CDLABEL=OLD rd.live.image quiet", "gone a gone", "a --- b"))
			}
			r.Shuffle(len(lines), func(i, k int) { lines[i], lines[k] = lines[k], lines[i] })
			b.WriteString(strings.Join(lines, "\n") + "\n")
		}
		texts = append(texts, []byte(b.String()))
	}
	e := &Edits{Remove: []string{"gone", "quiet"}, Add: []string{"new=1", "toram"},
		Labels: map[string]string{"OLD": "N_W", "Sample-WS-Live-40": "X"},
		Paths:  map[string]string{"/live": "/moved", "/a": "/b"}, Titles: []TitleEdit{{"words", "WORDS"}}}
	for i, text := range texts {
		for _, edited := range []bool{false, true} {
			if edited {
				out, changes, err := e.Apply(Syslinux, "isolinux/isolinux.cfg", text)
				if err != nil || len(changes) == 0 {
					t.Fatal(err, changes)
				}
				text = out
			}
			ours, err := Read(Syslinux, "isolinux/isolinux.cfg", text)
			if err != nil {
				t.Fatal(err)
			}
			got, want := linuxOnly(ours), linuxOnly(converted(t, text))
			if len(got) != len(want) || len(got) == 0 {
				t.Fatalf("text %d: %d entries, GRUB has %d\n%q\n%q", i, len(got), len(want), got, want)
			}
			for k := range got {
				if !reflect.DeepEqual(got[k], want[k]) {
					t.Errorf("text %d, edited: %v:\n%q\nGRUB: %q", i, edited, got[k], want[k])
				}
			}
		}
	}
}

func TestReadSyslinux(t *testing.T) {
	entries, err := Read(Syslinux, "x", []byte(`
append global
label a
  linux /v
label b
  menu label ^Bee
  kernel /w inline
  append initrd=/i,/j own
  initrd /k
label c
  com32 chain.c32
  append hd0
label d
  append -
  linux /v
label e
  menu exit
menu begin sub
  append sub
  label f
    kernel /f
menu end
label g
  kernel vesamenu.c32
label h
  localboot 0
label vmlinuz
  append initrd=/i
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{
		{Title: "a", Kernel: "/v", Args: []string{"global"}},
		{Title: "Bee", Kernel: "/w", Initrd: []string{"/k", "/i", "/j"}, Args: []string{"inline", "own"}},
		{Title: "c"},
		{Title: "d", Kernel: "/v"},
		{Title: "f", Kernel: "/f", Args: []string{"sub"}},
		{Title: "g"},
		{Title: "h"},
		{Title: "vmlinuz", Kernel: "vmlinuz", Initrd: []string{"/i"}},
	}
	if !reflect.DeepEqual(normal(entries), normal(want)) {
		t.Errorf("%q", entries)
	}
}
