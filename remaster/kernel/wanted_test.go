package kernel

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"relive/tree/systest"
)

// TestInitrdFiles: the content of what was asked for is the last archive's,
// whatever packs it.
func TestInitrdFiles(t *testing.T) {
	const conf = "conf/uuid.conf"
	first := cpio(file{".", dirMode, ""}, file{"conf", dirMode, ""}, file{"./" + conf, fileMode, "one\n"},
		file{"live/xtra/root/.ssh/id", fileMode, "key"}, file{"live/xtra", dirMode, ""}, file{"lib/modules/6.1.0-1/a.ko", fileMode, "ko"})
	second := cpio(file{conf, fileMode, "two\n"}, file{"conf/uuid.conf.d", fileMode, "x"})
	large := cpio(file{conf, fileMode, strings.Repeat("x", maxWanted+1)})
	link := cpio(file{conf, 0o120777, "elsewhere"})
	for _, c := range []struct {
		name string
		b    []byte
		want string
		none bool
	}{
		{"plain", first, "one\n", false},
		{"gzip", gzipped(t, first), "one\n", false},
		{"a later archive", slices.Concat(zstded(t, first), gzipped(t, second)), "two\n", false},
		{"a segment", slices.Concat(xzed(t, first), Segment(conf, []byte("three\n"))), "three\n", false},
		{"too large", large, "", true},
		{"a symlink", link, "", true},
		{"none", cpio(file{"init", fileMode, ""}), "", true},
	} {
		got, err := Initrd(context.Background(), content(t, c.b), "initrd", conf, "live/xtra/")
		text, ok := got.Files[conf]
		if err != nil || ok == c.none || string(text) != c.want || len(got.Files) > 1 {
			t.Errorf("%s: %q %v, %v", c.name, got.Files, ok, err)
		}
		if c.name == "plain" && !slices.Equal(got.Below, []string{"live/xtra/root/.ssh/id"}) {
			t.Errorf("below live/xtra: %q", got.Below)
		}
	}
	if got, err := Initrd(context.Background(), content(t, first), "initrd"); err != nil || len(got.Files)+len(got.Below) > 0 ||
		!slices.Equal(got.Versions, []string{"6.1.0-1"}) {
		t.Errorf("nothing asked for: %+v, %v", got, err)
	}
}

// TestSegmentTools: cpio unpacks a segment, and the file that was there is
// another afterwards.
func TestSegmentTools(t *testing.T) {
	systest.NeedTools(t, "cpio", "gzip")
	dir := systest.TempDir(t)
	systest.Must(t, os.MkdirAll(dir+"/etc", 0o755))
	systest.Must(t, os.WriteFile(dir+"/etc/encrypt", []byte("enable\n"), 0o644))
	systest.Must(t, os.WriteFile(dir+"/segment.gz", Segment("etc/encrypt", []byte("disable\n")), 0o644))
	cmd := exec.Command("sh", "-c", "gzip -dc segment.gz | cpio -iu --quiet")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if b, err := os.ReadFile(dir + "/etc/encrypt"); err != nil || string(b) != "disable\n" {
		t.Errorf("%q %v", b, err)
	}
	if a, b := Segment("etc/encrypt", []byte("disable\n")), Segment("etc/encrypt", []byte("disable\n")); !slices.Equal(a, b) {
		t.Error("two segments of one file differ")
	}
}
