package iso

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// Random trees, written by xorriso in its ways, are read as they were.
func TestXorriso(t *testing.T) {
	systest.NeedRoot(t, "xorriso")
	for name, c := range map[string]struct {
		kinds kinds
		// write gives the commands that put the tree at dir into the image.
		write  func(img, dir string) []string
		ignore tree.Difference
	}{
		"native": {
			kinds{entries: 400, depth: 20, linkBytes: 300, nameBytes: 255},
			func(img, dir string) []string {
				return []string{"-outdev", "stdio:" + img, "-hardlinks", "on", "-joliet", "on", "-map", dir, "/"}
			}, 0,
		},
		"mkisofs": {
			kinds{entries: 400, depth: 20, linkBytes: 200, nameBytes: 255},
			func(img, dir string) []string {
				return []string{"-as", "mkisofs", "-quiet", "-R", "-J", "-o", img, dir}
			}, tree.LinkSet,
		},
		"relocated": {
			kinds{entries: 300, depth: 30, linkBytes: 100, nameBytes: 40},
			func(img, dir string) []string {
				return []string{"-outdev", "stdio:" + img, "-compliance", "deep_paths_off", "-rr_reloc_dir", "reloc", "-hardlinks", "on",
					"-map", dir, "/"}
			}, 0,
		},
		"1.12": {
			kinds{entries: 200, depth: 6, linkBytes: 100, nameBytes: 40},
			func(img, dir string) []string {
				return []string{"-outdev", "stdio:" + img, "-compliance", "new_rr", "-hardlinks", "on", "-map", dir, "/"}
			}, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(2) {
				rng := rand.New(rand.NewPCG(seed, uint64(len(name))))
				dir := randomTree(t, rng, c.kinds)
				file := filepath.Join(systest.MemDir(t), "image.iso")
				systest.Run(t, "xorriso", c.write(file, dir)...)
				img := openFile(t, file)
				if img.Names() != RockRidge {
					t.Fatal(img.Names())
				}
				root := rootOf(t, img)
				if name == "relocated" {
					n := *root
					n.Dir = without{root.Dir, "reloc"}
					root = &n
				}
				// The root's owner and time are the image's.
				want := *hostTree(t, dir)
				want.Mtime, want.Perm = root.Mtime, root.Perm
				sameTree(t, &want, root, c.ignore)
			}
		})
	}
}

// mustHold checks that the image has what the test is about.
func mustHold(t *testing.T, file string, what ...string) {
	t.Helper()
	p, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range what {
		if !bytes.Contains(p, []byte(w)) {
			t.Errorf("%s holds no %q", file, w)
		}
	}
}

// without is a directory less one name.
type without struct {
	tree.Dir
	name string
}

func (w without) Children() ([]*tree.Node, error) {
	kids, err := w.Dir.Children()
	var out []*tree.Node
	for _, k := range kids {
		if k.Name != w.name {
			out = append(out, k)
		}
	}
	return out, err
}

// genisoimage relocates deep directories by itself, and keeps names of a
// directory in several sectors.
func TestGenisoimage(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "genisoimage")
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 7))
		// It writes broken components of targets that fill an entry.
		dir := randomTree(t, rng, kinds{entries: 400, depth: 20, linkBytes: 40, nameBytes: 100})
		file := filepath.Join(systest.MemDir(t), "image.iso")
		systest.Run(t, "genisoimage", "-quiet", "-R", "-o", file, dir)
		mustHold(t, file, "CL\x0c\x01", "PL\x0c\x01", "RE\x04\x01")
		root := *rootOf(t, openFile(t, file))
		root.Dir = without{root.Dir, "rr_moved"}
		want := *hostTree(t, dir)
		want.Mtime, want.Perm, want.UID, want.GID = root.Mtime, root.Perm, root.UID, root.GID
		// It does not tell names of empty files apart from files.
		sameTree(t, &want, &root, tree.LinkSet)
	}
}

// A directory of thousands of names takes hundreds of sectors.
func TestBigDirectory(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso", "genisoimage")
	dir := systest.MemDir(t)
	for i := range 5000 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d%s", i, strings.Repeat("y", i%100))), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"xorriso", "-as", "mkisofs", "-quiet", "-R"}, {"genisoimage", "-quiet", "-R"}} {
		file := filepath.Join(systest.MemDir(t), "image.iso")
		systest.Run(t, args[0], append(args[1:], "-o", file, dir)...)
		root := rootOf(t, openFile(t, file))
		want := *hostTree(t, dir)
		want.Mtime, want.Perm = root.Mtime, root.Perm
		sameTree(t, &want, root, 0)
	}
}
