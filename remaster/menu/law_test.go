package menu

import (
	"bytes"
	"os"
	"path/filepath"
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
	for _, l := range []string{"antiX/MX", "LiveOS", "archiso", "casper", "Debian live"} {
		e.Remove = append(e.Remove, Persistence(l)...)
	}
	return e
}

// Apply without edits gives the same bytes; twice is once.
func TestApplyLaws(t *testing.T) {
	for _, f := range fixtures {
		text := f.read(t)
		for name, text := range map[string][]byte{
			"as it is": text, "CR LF": bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), "no final line feed": bytes.TrimRight(text, "\n"),
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
