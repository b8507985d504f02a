package erofs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// checkers are the programs that images are checked with: the system's fsck.erofs, and
// those on PATH that RELIVE_FSCK_EROFS names, separated by colons.
func checkers(t testing.TB) []string {
	t.Helper()
	systest.NeedTools(t, "fsck.erofs")
	out := []string{"fsck.erofs"}
	if more := os.Getenv("RELIVE_FSCK_EROFS"); more != "" {
		out = append(out, strings.Split(more, ":")...)
	}
	return out
}

// otherAlgorithm is what a version says of compressions that it does not know.
var otherAlgorithm = regexp.MustCompile(`unsupported|unidentified|not supported|unknown compression format|unrecognized`)

// fsck has every checker read all of an image; Debian 12's knows no other algorithm
// than LZ4.
func fsck(t testing.TB, image string) {
	t.Helper()
	for i, checker := range checkers(t) {
		out, err := exec.Command(checker, "--extract", image).CombinedOutput()
		if err == nil {
			continue
		}
		said := string(out)
		if i == 0 && otherAlgorithm.MatchString(said) {
			continue
		}
		t.Errorf("%s: %v\n%.2000s", checker, err, said)
	}
}

// mounted gives what the kernel shows of an image, and has it checked.
func mounted(t testing.TB, b []byte) *tree.Node {
	t.Helper()
	image := filepath.Join(systest.MemDir(t), "image.erofs")
	systest.Must(t, os.WriteFile(image, b, 0o600))
	fsck(t, image)
	at, _ := systest.Mount(t, "erofs", "ro,loop", image)
	host, err := hostfs.Open(at)
	systest.Must(t, err)
	return host
}

// The kernel shows of an image what is in the tree that it was written from.
func TestWriteKernel(t *testing.T) {
	systest.NeedRoot(t)
	systest.NeedFilesystems(t, "erofs")
	for _, set := range writeSets() {
		t.Run(set.name, func(t *testing.T) {
			if unwritable(t, set.o) {
				t.Skip("nothing here compresses so")
			}
			root := sampleTree(3)
			b, _ := writeImage(t, root, set.o)
			if d := differences(t, withTime(root, set.o.AllTime), mounted(t, b)); d != "" {
				t.Errorf("the kernel shows another tree:\n%.3000s", d)
			}
		})
	}
}

// The kernel shows of an image most of which is copied from others what is in the
// tree, also where the first was made by mkfs.erofs.
func TestReuseKernel(t *testing.T) {
	systest.NeedRoot(t)
	systest.NeedFilesystems(t, "erofs")
	check := func(t *testing.T, b []byte, level func(*WriteOptions)) {
		m := newTreeMaker(13)
		for round := range 2 {
			r := openBytes(t, b)
			o, err := WriteOptionsLike(r)
			systest.Must(t, err)
			level(&o)
			if unwritable(t, o) {
				t.Skip("nothing here compresses so")
			}
			next := changeTree(t, m, rootOf(t, r), round)
			var p *Plan
			b, p = writeImage(t, next, o)
			if got, want := openBytes(t, b).super.Incompat, r.super.Incompat; got&^want != 0 {
				t.Errorf("features %#x, of %#x", got, want)
			}
			if p.Stats.Files > 500 && 2*p.Stats.ReusedFiles < p.Stats.Files {
				t.Errorf("little is reused: %+v", p.Stats)
			}
			if d := differences(t, next, mounted(t, b)); d != "" {
				t.Fatalf("round %d: the kernel shows another tree:\n%.3000s", round, d)
			}
		}
	}
	for _, set := range writeSets() {
		t.Run(set.name, func(t *testing.T) {
			if unwritable(t, set.o) || set.o.AllTime != nil {
				t.Skip("nothing here compresses so, or there is another time in the tree")
			}
			b, _ := writeImage(t, sampleTree(14), set.o)
			check(t, b, func(o *WriteOptions) {
				for i := range o.Compressions {
					o.Compressions[i].Options.Level = set.o.Compressions[i].Options.Level
				}
			})
		})
	}
	for name := range fixtures {
		if testing.Short() && !strings.Contains(name, "fedora") && !strings.Contains(name, "lorax") {
			continue
		}
		b := fixture(t, name)
		if _, err := WriteOptionsLike(openBytes(t, b)); err != nil {
			continue // it cannot be written
		}
		t.Run(name, func(t *testing.T) { check(t, b, func(*WriteOptions) {}) })
	}
}
