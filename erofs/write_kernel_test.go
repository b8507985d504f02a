package erofs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"relive/erofs/internal/ondisk"
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

// versions finds the version of erofs-utils, the part behind "1.". The first ones to tell
// it are later than 1.5.
var versions = regexp.MustCompile(`fsck\.erofs \D*1\.(\d+)`)

// modern tells whether a checker is of 1.9 or later, which decode no LZ4 as it was before
// Linux 5.4: they do not take off the zeros behind a stream, also in images by mkfs.erofs 1.5.
func modern(t testing.TB, checker string) bool {
	t.Helper()
	out, err := exec.Command(checker, "--version").CombinedOutput()
	if err != nil {
		return false
	}
	m := versions.FindSubmatch(out)
	if m == nil {
		t.Fatalf("%s --version: %s", checker, out)
	}
	n, err := strconv.Atoi(string(m[1]))
	systest.Must(t, err)
	return n >= 9
}

// fsck has every checker read all of an image, which may have data as before Linux 5.4;
// Debian 12's knows no other algorithm than LZ4.
func fsck(t testing.TB, image string, legacy bool) {
	t.Helper()
	for i, checker := range checkers(t) {
		args := []string{"--extract", image}
		if legacy && modern(t, checker) {
			args = args[1:] // indexes alone
		}
		out, err := exec.Command(checker, args...).CombinedOutput()
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
	fsck(t, image, openBytes(t, b).super.Incompat&ondisk.IncompatZeroPadding == 0)
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
			b, root := sampleImage(t, set), sampleTree()
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
	check := func(t *testing.T, b []byte, rounds int, level func(*WriteOptions)) {
		m := newTreeMaker(13)
		for round := range rounds {
			r := openBytes(t, b)
			o, err := WriteOptionsLike(r)
			systest.Must(t, err)
			level(&o)
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
		if set.o.AllTime != nil {
			continue // the tree that it is written anew from has other times
		}
		t.Run(set.name, func(t *testing.T) {
			check(t, sampleImage(t, set), 1, func(o *WriteOptions) {
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
		t.Run(name, func(t *testing.T) { check(t, b, 2, func(*WriteOptions) {}) })
	}
}
