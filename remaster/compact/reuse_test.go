package compact_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"relive/codec"
	"relive/remaster/compact"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/packed"
	"relive/squash"
	"relive/tree"
	"relive/tree/systest"
)

// executable is a file whose mode was changed: overlayfs copies all of it up.
func executable(n *tree.Node) *tree.Node {
	return livetest.With(n, func(n *tree.Node) { n.Perm = 0o755 })
}

// versionSize bounds what a compaction always compresses: the version file.
const versionSize = 400

// TestReuse: what is stored in the base already is not compressed again.
func TestReuse(t *testing.T) {
	const block = 128 << 10
	big := livetest.Text(1, 9*block+1000)
	changed := bytes.Clone(big)
	copy(changed[4*block+77:], "a few other bytes")
	base := func() *tree.Node {
		return livetest.Dir("", livetest.Etc("linuxfs.ver"), livetest.Dir("usr", livetest.File("big", big),
			livetest.File("noise", livetest.Noise(2, 3*block)), livetest.File("other", livetest.Text(3, 2*block))),
			livetest.Dir("small", livetest.ManyFiles(200)...))
	}
	for _, test := range []struct {
		name  string
		upper []*tree.Node
		check func(t *testing.T, s compact.Summary)
	}{
		{"chmod of a large file", []*tree.Node{livetest.Dir("usr", executable(livetest.File("big", big)))},
			func(t *testing.T, s compact.Summary) {
				if s.Compress > versionSize || s.Mixed != 0 {
					t.Errorf("%d bytes to compress, %d mixed files", s.Compress, s.Mixed)
				}
			}},
		{"chmod of a file in a fragment", []*tree.Node{livetest.Dir("small", executable(livetest.ManyFiles(8)[7]))},
			func(t *testing.T, s compact.Summary) {
				if s.Compress > versionSize {
					t.Errorf("%d bytes to compress", s.Compress)
				}
			}},
		{"one block of a large file changed", []*tree.Node{livetest.Dir("usr", livetest.File("big", changed))},
			func(t *testing.T, s compact.Summary) {
				if s.Compress > block+versionSize || s.Compress < block || s.Mixed != 1 {
					t.Errorf("%d bytes to compress, %d mixed files, where one block of one file changed", s.Compress, s.Mixed)
				}
			}},
		{"a large file grown", []*tree.Node{livetest.Dir("usr", livetest.File("big", append(bytes.Clone(big), livetest.Text(7, 3000)...)))},
			func(t *testing.T, s compact.Summary) {
				if s.Compress > block+versionSize || s.Mixed != 1 {
					t.Errorf("%d bytes to compress, %d mixed files, where only the tail changed", s.Compress, s.Mixed)
				}
			}},
		{"a copy of a large file", []*tree.Node{livetest.Dir("opt", livetest.File("copy", big))}, func(t *testing.T, s compact.Summary) {
			if s.Compress > versionSize || s.Duplicate != 1 {
				t.Errorf("%d bytes to compress, %d duplicates", s.Compress, s.Duplicate)
			}
		}},
		{"a copy of a small file", []*tree.Node{livetest.Dir("opt", livetest.File("copy", livetest.ManyFiles(30)[29].Data.(tree.Bytes)))},
			func(t *testing.T, s compact.Summary) {
				if s.Compress > versionSize || s.Duplicate != 1 {
					t.Errorf("%d bytes to compress, %d duplicates", s.Compress, s.Duplicate)
				}
			}},
		{"two new files that are equal", []*tree.Node{livetest.Dir("opt", livetest.File("one", livetest.Text(20, 50_000)),
			livetest.File("two", livetest.Text(20, 50_000)))}, func(t *testing.T, s compact.Summary) {
			if s.Compress > 50_000+versionSize {
				t.Errorf("%d bytes to compress", s.Compress)
			}
		}},
		{"a large file moved", []*tree.Node{livetest.Dir("usr", livetest.Whiteout("big")), livetest.Dir("opt", livetest.File("big", big))},
			func(t *testing.T, s compact.Summary) {
				// Its old name is gone, so that nothing tells where it came from: it is
				// new content. No promise is made; the figure must be honest.
				if s.Compress > int64(len(big))+versionSize {
					t.Errorf("%d bytes to compress", s.Compress)
				}
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := livetest.Craft(t, base(), livetest.Overlaid(append(test.upper, livetest.Etc("rootfs.ver"))...),
				livetest.LikeMksquashfs(codec.Zstd, block))

			res := l.Compact(livetest.KeepOne())
			test.check(t, res.Plan)
			livetest.SameTree(t, "merged", "compacted", livetest.Without(t, openOld(t, l), livetest.Stamps...),
				livetest.Without(t, livetest.OpenTree(t, l.Path("linuxfs"), ""), livetest.Stamps...))

		})
	}
}

// openOld returns the merged tree of the state that was kept.
func openOld(t testing.TB, l *livetest.Live) *tree.Node {
	t.Helper()
	d := systest.TempDir(t)
	for _, name := range []string{"linuxfs", "rootfs"} {
		systest.Must(t, os.Symlink(l.Path(name+".old"), filepath.Join(d, name)))
	}
	return livetest.OpenTree(t, d, "")
}

// TestDeadFragments: fragment blocks whose members are mostly alive are copied
// with the dead ones; where that would be too much, they are packed anew.
func TestDeadFragments(t *testing.T) {
	t.Parallel()
	base := func() *tree.Node {
		return livetest.Dir("", livetest.Etc("linuxfs.ver"), livetest.File("noise", livetest.Noise(1, 4<<20)),
			livetest.Dir("small", livetest.ManyFiles(400)...))
	}
	gone := func(from, to int) *tree.Node {
		var kids []*tree.Node
		for i := from; i < to; i++ {
			kids = append(kids, livetest.Whiteout(fmt.Sprintf("small%03d", i)))
		}
		return livetest.Dir("small", kids...)
	}
	few := livetest.Craft(t, base(), livetest.Overlaid(gone(10, 12), livetest.Etc("rootfs.ver")),
		livetest.LikeMksquashfs(codec.Zstd, 128<<10)).Compact(livetest.KeepOne()).Plan
	if few.Repacked != 0 || few.Dead == 0 || few.Compress > versionSize {
		t.Errorf("two of 400 files gone: %d fragment blocks repacked, %d dead bytes kept, %d bytes to compress", few.Repacked, few.Dead,
			few.Compress)
	}
	l := livetest.Craft(t, base(), livetest.Overlaid(gone(10, 390), livetest.Etc("rootfs.ver")),
		livetest.LikeMksquashfs(codec.Zstd, 128<<10))
	many := l.Compact(livetest.KeepOne()).Plan
	if many.Repacked == 0 || many.Dead > many.Copy/200 {
		t.Errorf("380 of 400 files gone: %d fragment blocks repacked, %d dead bytes kept of %d copied", many.Repacked, many.Dead, many.Copy)
	}
	if many.Compress > 20*2000+versionSize {
		t.Errorf("380 of 400 files gone: %d bytes to compress, more than all that is left", many.Compress)
	}
	livetest.SameTree(t, "merged", "compacted", livetest.Without(t, openOld(t, l), livetest.Stamps...),
		livetest.Without(t, livetest.OpenTree(t, l.Path("linuxfs"), ""), livetest.Stamps...))
}

// busy is a live directory in which much has changed, the same each time.
func busy(t testing.TB, o squash.WriteOptions) *livetest.Live {
	big := livetest.Text(1, 900_000)
	changed := bytes.Clone(big)
	copy(changed[400_000:], "other bytes")
	small := livetest.ManyFiles(150)
	return livetest.Craft(t, livetest.Dir("", livetest.Etc("linuxfs.ver"), livetest.Dir("usr", livetest.File("big", big),
		livetest.File("noise", livetest.Noise(2, 300_000))), livetest.Dir("small", small...)),
		livetest.Overlaid(livetest.Etc("rootfs.ver"), livetest.Dir("usr", livetest.File("big", changed),
			executable(livetest.File("noise", livetest.Noise(2, 300_000)))),
			livetest.Dir("small", livetest.Whiteout("small007"), livetest.Whiteout("small008"), executable(small[20]),
				livetest.File("small030", livetest.Text(1, 500))),
			livetest.Dir("opt", livetest.File("new", livetest.Text(8, 700_000)), livetest.File("copy", livetest.Text(1, 500)),
				livetest.File("again", livetest.Text(1029, 2000)))), o)
}

// compactTo writes the new base to a file of its own.
func compactTo(l *livetest.Live, e *job.Env, path string) {
	l.T.Helper()
	opened, err := live.Open(l.T.Context(), e, l.Dir)
	systest.Must(l.T, err)
	defer opened.Close()
	p, err := compact.New(l.T.Context(), e, opened, compact.Options{Output: path, FullVerify: true})
	systest.Must(l.T, err)
	_, err = p.Run(l.T.Context())
	systest.Must(l.T, err)
}

// TestSameBytes: the new base depends on neither the number of workers nor the
// run, whichever libraries compress; and its tree not on the libraries.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	for _, id := range []codec.ID{codec.Gzip, codec.XZ, codec.Zstd, codec.LZ4} {
		l := busy(t, livetest.LikeMksquashfs(id, 128<<10))
		var trees []*tree.Node
		for _, mode := range []codec.Mode{codec.Auto, codec.Go} {
			var first [32]byte
			for i, jobs := range []int{1, 4, 4} {
				e := livetest.Env(t, mode)
				e.Jobs = jobs
				path := l.Path(fmt.Sprintf("out-%d-%d", mode, i))
				compactTo(l, e, path)
				b, err := os.ReadFile(path)
				systest.Must(t, err)
				sum := sha256.Sum256(b)
				if i == 0 {
					first = sum
					trees = append(trees, livetest.OpenTree(t, path, ""))
				} else if sum != first {
					t.Errorf("%s, codecs %v: %d workers, run %d: other bytes than with one worker", id, mode, jobs, i)
				}
			}
		}
		livetest.SameTree(t, "system's libraries", "codecs in Go", trees[0], trees[1])
	}
}

// TestReuseTree: with and without reuse the trees are equal.
func TestReuseTree(t *testing.T) {
	t.Parallel()
	l := busy(t, livetest.LikeMksquashfs(codec.Zstd, 128<<10))
	e := livetest.Env(t, codec.Auto)
	opened, err := live.Open(t.Context(), e, l.Dir)
	systest.Must(t, err)
	defer opened.Close()
	o := squash.WriteOptionsLike(packed.Squash(opened.Base.Image))
	with := livetest.WriteSquash(t, l.Path("with"), opened.Merged, o)
	o.NoReuse = true
	none := livetest.WriteSquash(t, l.Path("without"), opened.Merged, o)
	if none.Stats.CopyBytes != 0 || with.Stats.CopyBytes == 0 || with.Stats.CompressBytes*2 > none.Stats.CompressBytes {
		t.Errorf("with reuse %d bytes copied and %d compressed, without %d and %d",
			with.Stats.CopyBytes, with.Stats.CompressBytes, none.Stats.CopyBytes, none.Stats.CompressBytes)
	}
	livetest.SameTree(t, "with reuse", "without", livetest.OpenTree(t, l.Path("with"), ""), livetest.OpenTree(t, l.Path("without"), ""))
	livetest.SameTree(t, "merged", "with reuse", opened.Merged, livetest.OpenTree(t, l.Path("with"), ""))
}
