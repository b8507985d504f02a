package squash

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relive/internal/progress"
	"relive/tree"
	"relive/tree/systest"
)

// noisyBase makes an image in dir of one file of noise, with every 32nd block
// changed in the tree that is given.
func noisyBase(t testing.TB, dir string, size int) (root *tree.Node, o WriteOptions, base *os.File) {
	t.Helper()
	o = lz4Options(t, 131072)
	b := make([]byte, size)
	fixedRand().Read(b)
	p, err := NewPlan(t.Context(), tree.NewDir("", 0o755, tree.NewFile("image", 0o644, b)), o)
	if err != nil {
		t.Fatal(err)
	}
	if base, err = os.Create(filepath.Join(dir, "base")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { base.Close() })
	rep, err := p.Write(t.Context(), base, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(base, rep.Size, "base", o.Library)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	old := lookup(t, rootOf(t, r), "image")
	d := &patchedBytes{below: old.Data, now: b, chunk: 4096, changed: map[int64]bool{}}
	for i := int64(0); i < int64(size)/4096; i += 1024 {
		d.changed[i] = true
	}
	n := *old
	n.Data, n.Inode = d, tree.Inode{}
	return tree.NewDir("", 0o755, &n), o, base
}

// A full disk, and a base that ends too early, are errors that name the file.
func TestPatchedCopyFails(t *testing.T) {
	dir, _ := systest.Mount(t, "tmpfs", "size=24m", "none")
	root, o, base := noisyBase(t, dir, 16<<20)
	write := func(out io.WriterAt) error {
		p, err := NewPlan(t.Context(), root, o)
		if err != nil {
			t.Fatal(err)
		}
		inTime(t, "the writing", func() { _, err = p.Write(t.Context(), out, 0) })
		return err
	}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	err = write(out)
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
	if err := errors.Join(out.Close(), os.Remove(out.Name())); err != nil {
		t.Fatal(err)
	}

	if err := base.Truncate(9 << 20); err != nil {
		t.Fatal(err)
	}
	elsewhere, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	for _, out := range []io.WriterAt{&memory{}, elsewhere} {
		if err := write(out); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "image: base: ") {
			t.Errorf("a base that is cut: %v", err)
		}
	}
}

// Progress comes to its totals by what is done, not only at the end.
func TestPatchedProgress(t *testing.T) {
	root, o, _ := noisyBase(t, t.TempDir(), 24<<20)
	p, err := NewPlan(t.Context(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	var told []WriteProgress
	p.OnProgress(func(w WriteProgress) { told = append(told, w) })
	if _, err := p.Write(t.Context(), &memory{}, 0); err != nil {
		t.Fatal(err)
	}
	st := p.Stats
	if st.CompressBytes != 6*131072 || st.CopyBytes < 22<<20 || st.CopyRanges < 5 {
		t.Errorf("%+v", st)
	}
	last := told[len(told)-2] // the very last is set to the totals
	missing := last.CopyTotal - last.Copied + last.CompressTotal - last.Compressed
	if last.CopyTotal != st.CopyBytes || last.CompressTotal != st.CompressBytes || len(told) < 12 || missing < 0 ||
		missing > progress.Step {
		t.Errorf("%d calls, at last %+v", len(told), last)
	}
}

// unlisted is a Data whose stored form cannot be given.
type unlisted struct {
	tree.Bytes
	err error
}

func (d unlisted) storedForm() (storedContent, error) { return storedContent{}, d.err }

// A file whose blocks are too many to list is read; a list that is broken is an
// error.
func TestPatchedUnlisted(t *testing.T) {
	o := lz4Options(t, 4096)
	b := bytes.Repeat([]byte("text "), 3000)
	for _, err := range []error{tree.Unsupported("base", "inode 1", "too long"), tree.Corrupt("base", "inode 1", "broken")} {
		patched := &patchedBytes{below: unlisted{b, err}, now: b, chunk: 512, changed: map[int64]bool{}}
		for _, d := range []tree.Data{unlisted{b, err}, patched} {
			n := tree.NewFile("f", 0o644, b)
			n.Data = d
			root := tree.NewDir("", 0o755, n)
			p, planErr := NewPlan(t.Context(), root, o)
			if !errors.Is(err, tree.ErrUnsupported) {
				if !errors.Is(planErr, err) || !strings.HasPrefix(planErr.Error(), "/f: ") {
					t.Errorf("%T: %v", d, planErr)
				}
				continue
			}
			if planErr != nil || p.Stats.CompressBytes != n.Size {
				t.Errorf("%T: %+v, %v", d, p.Stats, planErr)
				continue
			}
			image, _ := writeImage(t, root, o)
			got := lookup(t, rootOf(t, openImage(t, image, o.Library)), "f")
			if same, err := ComparePatched(t.Context(), patched, got, 1, nil); !same || err != nil {
				t.Errorf("%T: compares %v, %v", d, same, err)
			}
		}
	}
}

// A file of as many blocks as are listed is planned, written and compared in
// seconds where it is holes and runs.
func TestPatchedHuge(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	began := time.Now()
	const size = (maxStoredBlocks - 1) * 4096
	o := lz4Options(t, 4096)
	image, _ := writeImage(t, tree.NewDir("", 0o755, sparseFile("image", islands{size, []int64{0, 5 << 30, size - 4}, "text"})), o)
	base := openImage(t, image, o.Library)
	old := lookup(t, rootOf(t, base), "image")
	d := &patchedIslands{islands{size, []int64{0, 5 << 30, 9 << 30, size - 4}, "text"}, old.Data}
	n := *old
	n.Data, n.Inode = d, tree.Inode{}
	image, plan := writeImage(t, tree.NewDir("", 0o755, &n), o)
	if st := plan.Stats; st.CompressBytes != 4096 || st.MixedFiles != 1 || st.CopyRanges != 2 {
		t.Errorf("%+v", st)
	}
	same, err := ComparePatched(t.Context(), d, lookup(t, rootOf(t, openImage(t, image, o.Library)), "image"), 2, nil)
	if !same || err != nil {
		t.Errorf("compares %v, %v", same, err)
	}
	if took := time.Since(began); took > systest.Within(time.Minute) {
		t.Errorf("took %v", took)
	}
}

// patchedIslands has changes from 9 GiB to a little behind.
type patchedIslands struct {
	islands
	below tree.Data
}

func (d *patchedIslands) Below() tree.Data { return d.below }
func (d *patchedIslands) ChangedIn(off, n int64) bool {
	return off < 9<<30+8192 && off+n > 9<<30
}
