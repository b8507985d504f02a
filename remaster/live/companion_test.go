package live

import (
	"strings"
	"testing"
)

// TestTies: names of bases stand for themselves, whatever they hold.
func TestTies(t *testing.T) {
	const odd = `a[b]*?\c.sfs`
	for _, c := range []struct{ base, name, tie string }{
		{"linuxfs", "linuxfs.md5", "linuxfs.md5"},
		{"filesystem.squashfs", "filesystem.size", "STEM.size"},
		{"filesystem.squashfs", "filesystem.squashfs.verity", "BASE.verity"},
		{"filesystem.squashfs", "filesystem.verity", "STEM.verity"},
		{"filesystem.squashfs", "filesystem.squashfs.roothash.p7s", "BASE.roothash.*"},
		{"filesystem.squashfs", "filesystem.roothash.p7s", "STEM.roothash.*"},
		{"filesystem.squashfs", "filesystem.squashfs.roothash.p7s.old", ""},
		{"filesystem.squashfs", "filesystem.size.old", ""},
		{"filesystem.squashfs", "filesystem.sizes", ""},
		{"filesystem.squashfs", "myfilesystem.size", ""},
		{"filesystem.squashfs", "STEM.size", ""},
		{"filesystem.squashfs", "BASE.sig", ""},
		{"size", "size.sig", "BASE.sig"},
		{"BASE", "BASE.sig", "BASE.sig"},
		{"x.size", "x.size", ""},
		{odd, odd + ".sig", "BASE.sig"},
		{odd, `a[b]*?\c.size`, "STEM.size"},
		{odd, `ab??c.size`, ""},
		{odd, `axxb.sig`, ""},
	} {
		got := ""
		if tie := tieOf(antiX{}.Name(), c.base, c.name); tie != nil {
			got = tie.name
		}
		if got != c.tie {
			t.Errorf("%s beside %s is tied by %q, not %q", c.name, c.base, got, c.tie)
		}
	}
	for _, tie := range Ties {
		if i := max(strings.LastIndex(tie.name, "BASE"), strings.LastIndex(tie.name, "STEM")); i > 0 {
			t.Errorf("%s: only the beginning stands for a base", tie.name)
		}
	}
}
