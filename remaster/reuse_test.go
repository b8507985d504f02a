package remaster_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"relive/remaster/compact"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/squash"
	"relive/squash/codec"
	"relive/tree"
	"relive/tree/systest"
)

// executable is a file whose mode was changed: overlayfs copies all of it up.
func executable(n *tree.Node) *tree.Node {
	return with(n, func(n *tree.Node) { n.Perm = 0o755 })
}

// versionSize bounds what a compaction always compresses: the version file.
const versionSize = 400

// TestReuse: what is stored in the base already is not compressed again.
func TestReuse(t *testing.T) {
	const block = 128 << 10
	big := text(1, 9*block+1000)
	changed := bytes.Clone(big)
	copy(changed[4*block+77:], "a few other bytes")
	base := func() *tree.Node {
		return dir("", etc("linuxfs.ver"), dir("usr", file("big", big), file("noise", noise(2, 3*block)), file("other", text(3, 2*block))),
			dir("small", manyFiles(200)...))
	}
	for _, test := range []struct {
		name  string
		upper []*tree.Node
		check func(t *testing.T, s compact.Summary)
	}{
		{"chmod of a large file", []*tree.Node{dir("usr", executable(file("big", big)))}, func(t *testing.T, s compact.Summary) {
			if s.Compress > versionSize || s.Mixed != 0 {
				t.Errorf("%d bytes to compress, %d mixed files", s.Compress, s.Mixed)
			}
		}},
		{"chmod of a file in a fragment", []*tree.Node{dir("small", executable(manyFiles(8)[7]))}, func(t *testing.T, s compact.Summary) {
			if s.Compress > versionSize {
				t.Errorf("%d bytes to compress", s.Compress)
			}
		}},
		{"one block of a large file changed", []*tree.Node{dir("usr", file("big", changed))}, func(t *testing.T, s compact.Summary) {
			if s.Compress > block+versionSize || s.Compress < block || s.Mixed != 1 {
				t.Errorf("%d bytes to compress, %d mixed files, where one block of one file changed", s.Compress, s.Mixed)
			}
		}},
		{"a large file grown", []*tree.Node{dir("usr", file("big", append(bytes.Clone(big), text(7, 3000)...)))}, func(t *testing.T, s compact.Summary) {
			if s.Compress > block+versionSize || s.Mixed != 1 {
				t.Errorf("%d bytes to compress, %d mixed files, where only the tail changed", s.Compress, s.Mixed)
			}
		}},
		{"a copy of a large file", []*tree.Node{dir("opt", file("copy", big))}, func(t *testing.T, s compact.Summary) {
			if s.Compress > versionSize || s.Duplicate != 1 {
				t.Errorf("%d bytes to compress, %d duplicates", s.Compress, s.Duplicate)
			}
		}},
		{"a copy of a small file", []*tree.Node{dir("opt", file("copy", manyFiles(30)[29].Data.(tree.Bytes)))}, func(t *testing.T, s compact.Summary) {
			if s.Compress > versionSize || s.Duplicate != 1 {
				t.Errorf("%d bytes to compress, %d duplicates", s.Compress, s.Duplicate)
			}
		}},
		{"two new files that are equal", []*tree.Node{dir("opt", file("one", text(20, 50_000)), file("two", text(20, 50_000)))}, func(t *testing.T, s compact.Summary) {
			if s.Compress > 50_000+versionSize {
				t.Errorf("%d bytes to compress", s.Compress)
			}
		}},
		{"a large file moved", []*tree.Node{dir("usr", whiteout("big")), dir("opt", file("big", big))}, func(t *testing.T, s compact.Summary) {
			// Its old name is gone, so that nothing tells where it came from: it is
			// new content. No promise is made; the figure must be honest.
			if s.Compress > int64(len(big))+versionSize {
				t.Errorf("%d bytes to compress", s.Compress)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := craft(t, base(), overlaid(append(test.upper, etc("rootfs.ver"))...), likeMksquashfs(codec.Zstd, block))

			res := l.compact(keepOne())
			test.check(t, res.Plan)
			sameTree(t, "merged", "compacted", without(t, openOld(t, l), stamps...), without(t, openTree(t, l.path("linuxfs"), ""), stamps...))

		})
	}
}

// openOld gives the merged tree of the state that was kept.
func openOld(t testing.TB, l *frugal) *tree.Node {
	t.Helper()
	d := systest.TempDir(t)
	for _, name := range []string{"linuxfs", "rootfs"} {
		systest.Must(t, os.Symlink(l.path(name+".old"), filepath.Join(d, name)))
	}
	return openTree(t, d, "")
}

// TestDeadFragments: fragment blocks whose members are mostly alive are copied
// with the dead ones; where that would be too much, they are packed anew.
func TestDeadFragments(t *testing.T) {
	t.Parallel()
	base := func() *tree.Node {
		return dir("", etc("linuxfs.ver"), file("noise", noise(1, 4<<20)), dir("small", manyFiles(400)...))
	}
	gone := func(from, to int) *tree.Node {
		var kids []*tree.Node
		for i := from; i < to; i++ {
			kids = append(kids, whiteout(fmt.Sprintf("small%03d", i)))
		}
		return dir("small", kids...)
	}
	few := craft(t, base(), overlaid(gone(10, 12), etc("rootfs.ver")), likeMksquashfs(codec.Zstd, 128<<10)).compact(keepOne()).Plan
	if few.Repacked != 0 || few.Dead == 0 || few.Compress > versionSize {
		t.Errorf("two of 400 files gone: %d fragment blocks repacked, %d dead bytes kept, %d bytes to compress", few.Repacked, few.Dead, few.Compress)
	}
	l := craft(t, base(), overlaid(gone(10, 390), etc("rootfs.ver")), likeMksquashfs(codec.Zstd, 128<<10))
	many := l.compact(keepOne()).Plan
	if many.Repacked == 0 || many.Dead > many.Copy/200 {
		t.Errorf("380 of 400 files gone: %d fragment blocks repacked, %d dead bytes kept of %d copied", many.Repacked, many.Dead, many.Copy)
	}
	if many.Compress > 20*2000+versionSize {
		t.Errorf("380 of 400 files gone: %d bytes to compress, more than all that is left", many.Compress)
	}
	sameTree(t, "merged", "compacted", without(t, openOld(t, l), stamps...), without(t, openTree(t, l.path("linuxfs"), ""), stamps...))
}

// busy is a live directory in which much has changed, the same each time.
func busy(t testing.TB, o squash.WriteOptions) *frugal {
	big := text(1, 900_000)
	changed := bytes.Clone(big)
	copy(changed[400_000:], "other bytes")
	small := manyFiles(150)
	return craft(t, dir("", etc("linuxfs.ver"), dir("usr", file("big", big), file("noise", noise(2, 300_000))), dir("small", small...)),
		overlaid(etc("rootfs.ver"), dir("usr", file("big", changed), executable(file("noise", noise(2, 300_000)))),
			dir("small", whiteout("small007"), whiteout("small008"), executable(small[20]), file("small030", text(1, 500))),
			dir("opt", file("new", text(8, 700_000)), file("copy", text(1, 500)), file("again", text(1029, 2000)))), o)
}

// compactTo writes the new base to a file of its own.
func (l *frugal) compactTo(e *job.Env, path string) {
	l.t.Helper()
	opened, err := live.Open(l.t.Context(), e, l.dir)
	systest.Must(l.t, err)
	defer opened.Close()
	p, err := compact.New(l.t.Context(), e, opened, compact.Options{Output: path, FullVerify: true})
	systest.Must(l.t, err)
	_, err = p.Run(l.t.Context())
	systest.Must(l.t, err)
}

// TestSameBytes: the new base depends on neither the number of workers nor the
// run, whichever libraries compress; and its tree not on the libraries.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	for _, id := range []codec.ID{codec.Gzip, codec.XZ, codec.Zstd, codec.LZ4} {
		l := busy(t, likeMksquashfs(id, 128<<10))
		var trees []*tree.Node
		for _, mode := range []codec.Mode{codec.Auto, codec.Go} {
			var first [32]byte
			for i, jobs := range []int{1, 4, 4} {
				e := environment(t, mode)
				e.Jobs = jobs
				path := l.path(fmt.Sprintf("out-%d-%d", mode, i))
				l.compactTo(e, path)
				b, err := os.ReadFile(path)
				systest.Must(t, err)
				sum := sha256.Sum256(b)
				if i == 0 {
					first = sum
					trees = append(trees, openTree(t, path, ""))
				} else if sum != first {
					t.Errorf("%s, codecs %v: %d workers, run %d: other bytes than with one worker", id, mode, jobs, i)
				}
			}
		}
		sameTree(t, "system's libraries", "codecs in Go", trees[0], trees[1])
	}
}

// TestReuseTree: with and without reuse the trees are equal.
func TestReuseTree(t *testing.T) {
	t.Parallel()
	l := busy(t, likeMksquashfs(codec.Zstd, 128<<10))
	e := environment(t, codec.Auto)
	opened, err := live.Open(t.Context(), e, l.dir)
	systest.Must(t, err)
	defer opened.Close()
	o := squash.WriteOptionsLike(opened.Base.Image)
	with := writeSquash(t, l.path("with"), opened.Merged, o)
	o.NoReuse = true
	none := writeSquash(t, l.path("without"), opened.Merged, o)
	if none.Stats.CopyBytes != 0 || with.Stats.CopyBytes == 0 || with.Stats.CompressBytes*2 > none.Stats.CompressBytes {
		t.Errorf("with reuse %d bytes copied and %d compressed, without %d and %d",
			with.Stats.CopyBytes, with.Stats.CompressBytes, none.Stats.CopyBytes, none.Stats.CompressBytes)
	}
	sameTree(t, "with reuse", "without", openTree(t, l.path("with"), ""), openTree(t, l.path("without"), ""))
	sameTree(t, "merged", "with reuse", opened.Merged, openTree(t, l.path("with"), ""))
}
