package squash

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"relive/codec"
	"relive/tree"
	"relive/tree/systest"
)

// changedTree is an image's tree with files removed, changed, moved and added.
// moved gives the number of each inode of the image that lies elsewhere.
func changedTree(t testing.TB, base *Reader, seed uint64) (root *tree.Node, held map[uint32]string) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 5))
	held = map[uint32]string{}
	root = apply(t, rootOf(t, base), func(e *tree.Edits) {
		n := 0
		err := tree.Walk(context.Background(), rootOf(t, base), func(path string, k *tree.Node) error {
			if path == "" || k.Type == tree.Directory {
				return nil
			}
			n++
			switch rnd.IntN(12) {
			case 0:
				e.Remove(path)
			case 1: // edited
				c := *tree.NewFile("", 0o600, fmt.Appendf(nil, "edited %d", n))
				c.Origin = k.Origin
				e.Put(path, &c)
			case 2: // replaced by a copied-up one that lay elsewhere
				if k.Nlink > 1 {
					break
				}
				e.Remove(path)
				c := *k
				c.Inode, c.Origin = tree.Inode{Source: held, Number: k.Inode.Number}, tree.Inode{}
				to := fmt.Sprintf("moved/%d", n)
				e.Put(to, &c)
				held[uint32(k.Inode.Number)] = to
			case 3: // new
				e.Put(fmt.Sprintf("new/%d-%d", seed, n), tree.NewFile("", 0o644, fmt.Appendf(nil, "new %d", n)))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		// A number that nothing may have, though its inode is there.
		for _, name := range []string{"linked-a", "linked-b", "many/linked-c"} {
			if n, err := rootOf(t, base).Lookup(name); err == nil && n != nil {
				held[uint32(n.Inode.Number)] = ""
			}
		}
	})
	return root, held
}

// numbersOf returns the numbers of an image's inodes by path.
func numbersOf(t testing.TB, r *Reader) map[string]uint32 {
	t.Helper()
	out := map[string]uint32{}
	err := tree.Walk(context.Background(), rootOf(t, r), func(path string, n *tree.Node) error {
		out[path] = uint32(n.Inode.Number)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Read(Write(t)) == t, and what comes from the base has its number, over several
// generations, with any number of workers; no number of the base is given to
// another inode.
func TestNumbersKept(t *testing.T) {
	for seed := range uint64(6) {
		o := lz4Options(t, 4096)
		image, _ := writeImage(t, sampleTree(seed, 4096), o)
		base := openImage(t, image, o.Library)
		for generation := range 4 {
			root, held := changedTree(t, base, seed*10+uint64(generation))
			o.Numbers, o.Workers = &Numbers{Of: base, Held: held}, 1
			image, plan := writeImage(t, root, o)
			o.Workers = 3
			if again, _ := writeImage(t, root, o); !bytes.Equal(image, again) {
				t.Error("another image with other workers")
			}
			r := openImage(t, image, o.Library)
			sameTree(t, "with numbers kept", root, rootOf(t, r))
			verifyClean(t, r)
			if !plan.NumbersKept() {
				t.Fatal("the numbers are not kept")
			}
			if err := plan.CheckNumbers(context.Background(), r); err != nil {
				t.Error(err)
			}
			checkNumbers(t, base, root, r, held)
			if t.Failed() {
				t.Fatalf("seed %d, generation %d", seed, generation)
			}
			base = r
		}
	}
}

// checkNumbers compares the numbers of an image with those of the base.
func checkNumbers(t *testing.T, base *Reader, root *tree.Node, r *Reader, held map[uint32]string) {
	t.Helper()
	old := map[uint64]bool{}
	for _, n := range numbersOf(t, base) {
		old[uint64(n)] = true
	}
	now, paths := numbersOf(t, r), map[string]uint32{}
	for n, path := range held {
		if path != "" {
			paths[path] = n
		}
	}
	kept, fresh := 0, 0
	had := map[uint64]bool{}
	err := tree.Walk(context.Background(), root, func(path string, n *tree.Node) error {
		got := uint64(now[path])
		want := n.Origin.Number
		if h, ok := held[uint32(want)]; ok && h != path {
			want = 0
		}
		if h := paths[path]; h != 0 {
			want = uint64(h)
		}
		switch {
		case want != 0 && got == want:
			kept++
			had[want] = true
		case want != 0 && !had[want]:
			t.Errorf("%s: number %d, not %d", tree.Quote(path), got, want)
		case old[got]:
			t.Errorf("%s: the number %d of the base, which another file had", tree.Quote(path), got)
		default:
			fresh++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if kept < 300 || fresh < 20 {
		t.Errorf("%d numbers kept, %d new: the test tests nothing", kept, fresh)
	}
}

// Numbers that are gone are used again one image later: they do not grow.
func TestNumbersBounded(t *testing.T) {
	o := lz4Options(t, 4096)
	var root *tree.Node
	highest := uint32(0)
	for generation := range 12 {
		var kids []*tree.Node
		for i := range 500 {
			kids = append(kids, tree.NewFile(fmt.Sprintf("%d-%d", generation, i), 0o644, nil))
		}
		root = tree.NewDir("", 0o755, kids...)
		image, _ := writeImage(t, root, o)
		r := openImage(t, image, o.Library)
		o.Numbers = &Numbers{Of: r}
		highest = max(highest, r.super.InodeCount)
	}
	if highest > 1100 {
		t.Errorf("numbers up to %d for 501 inodes", highest)
	}
}

// A base whose numbers are too high for its inodes is written with others, and
// the plan says so; without an export table there is nothing to keep.
func TestNumbersNotKept(t *testing.T) {
	o := lz4Options(t, 4096)
	image, _ := writeImage(t, sampleTree(1, 4096), o)
	base := openImage(t, image, o.Library)
	taken := uint32(2)
	far := tree.NewFile("far", 0o644, []byte("far"))
	far.Origin = tree.Inode{Source: base, Number: 1 << 31}
	root := tree.NewDir("", 0o755, far, tree.NewFile("near", 0o644, nil))
	o.Numbers = &Numbers{Of: base, Held: map[uint32]string{taken: "", 1 << 30: ""}}
	image, plan := writeImage(t, root, o)
	r := openImage(t, image, o.Library)
	if plan.NumbersKept() || r.super.InodeCount != 4 {
		t.Errorf("kept: %v, numbers up to %d", plan.NumbersKept(), r.super.InodeCount)
	}
	if got := numbersOf(t, r); got["far"] == taken || got["near"] == taken || got[""] == taken {
		t.Errorf("a number that is held was given away: %v", got)
	}
	verifyClean(t, r)
	if err := plan.CheckNumbers(context.Background(), r); err != nil {
		t.Error(err)
	}
	o.Numbers.Of = nil
	if again, _ := writeImage(t, root, o); numbersOf(t, openImage(t, again, o.Library))["near"] == taken {
		t.Error("a number that is held was given away, without an image")
	}
	o.Flags &^= FlagExportable
	far.Origin.Number = 1000
	if image, plan = writeImage(t, root, o); plan.NumbersKept() || openImage(t, image, o.Library).super.InodeCount != 3 {
		t.Error("numbers are kept without an export table")
	}
	// A hard link of which a later name is held.
	o.Flags |= FlagExportable
	var kids []*tree.Node
	for _, name := range []string{"a", "b", "c"} {
		k := tree.NewFile(name, 0o644, []byte("linked"))
		k.Inode, k.Nlink = tree.Inode{Source: base, Number: 9}, 3
		kids = append(kids, k)
	}
	o.Numbers.Held = map[uint32]string{40: "b"}
	if image, _ = writeImage(t, tree.NewDir("", 0o755, kids...), o); numbersOf(t, openImage(t, image, o.Library))["c"] != 40 {
		t.Error("the number of a later name is not taken")
	}
}

// The kernel finds every inode by the number in a file handle, and nothing by a
// number that is missing; it shows the same tree, and so do the tools.
func TestNumbersKernel(t *testing.T) {
	systest.NeedRoot(t, "unsquashfs", "sqfs2tar", "tar")
	o := lz4Options(t, 4096)
	o.Codec = quick(codec.Gzip, 4096)
	var e tree.Edits
	e.Remove("x3") // ext4, to which tools unpack, has no room for such attributes
	small, err := e.Apply(sampleTree(3, 4096))
	if err != nil {
		t.Fatal(err)
	}
	image, _ := writeImage(t, small, o)
	base := openImage(t, image, o.Library)
	root, held := changedTree(t, base, 77)
	o.Numbers = &Numbers{Of: base, Held: held}
	path, plan := writeFile(t, root, o)
	if !plan.NumbersKept() {
		t.Fatal("the numbers are not kept")
	}
	at := mount(t, path)
	sameTree(t, "the kernel's view", root, hostTree(t, at))

	top, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	r := openFile(t, path)
	used := map[uint32]bool{}
	for name, number := range numbersOf(t, r) {
		used[number] = true
		var want, got unix.Stat_t
		if err := unix.Lstat(filepath.Join(at, name), &want); err != nil {
			t.Fatal(err)
		}
		if want.Ino != uint64(number) {
			t.Errorf("%q: the kernel shows number %d, we %d", name, want.Ino, number)
		}
		f, err := byHandle(top, number)
		if err == nil {
			err = unix.Fstat(f, &got)
			unix.Close(f)
		}
		if err != nil || got.Ino != want.Ino || got.Mode != want.Mode || got.Uid != want.Uid || got.Size != want.Size ||
			got.Nlink != want.Nlink {
			t.Errorf("%q: by its handle %v: %+v, not %+v", name, err, got, want)
		}
	}
	missing := 0
	for number := uint32(1); number <= r.super.InodeCount+1; number++ {
		if used[number] {
			continue
		}
		missing++
		if f, err := byHandle(top, number); !errors.Is(err, unix.ESTALE) {
			t.Errorf("number %d, which is missing: %v", number, err)
			unix.Close(f)
		}
	}
	if missing < 50 {
		t.Errorf("%d numbers are missing", missing)
	}

	out := filepath.Join(t.TempDir(), "out")
	systest.Run(t, "unsquashfs", "-no-progress", "-quiet", "-d", out, path)
	sameTree(t, "unsquashfs", root, hostTree(t, out))
	tarred := filepath.Join(t.TempDir(), "tarred")
	if err := os.Mkdir(tarred, 0o755); err != nil {
		t.Fatal(err)
	}
	systest.Run(t, "sh", "-c", "sqfs2tar "+path+" > "+tarred+".tar && tar -C "+tarred+" -xpf "+tarred+".tar")
	compareNames(t, at, tarred)
}

// compareNames compares files of two directories by name, mode and content.
func compareNames(t *testing.T, a, b string) {
	t.Helper()
	err := filepath.WalkDir(a, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(a, path)
		if err != nil || name == "." {
			return err
		}
		is, err := os.Lstat(filepath.Join(b, name))
		if err != nil && d.Type()&fs.ModeSocket != 0 {
			return nil // tar has none
		}
		if err != nil || is.Mode().Type() != d.Type() {
			t.Errorf("sqfs2tar: %q: %v, not %v", name, is, d)
			return nil
		}
		if d.Type().IsRegular() {
			x, errA := os.ReadFile(path)
			y, errB := os.ReadFile(filepath.Join(b, name))
			if !bytes.Equal(x, y) || errA != nil || errB != nil {
				t.Errorf("sqfs2tar: %q: another content", name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// byHandle opens an inode of a SquashFS by the handle that Linux gives it
// (fid_type 1: number and generation).
func byHandle(mnt *os.File, number uint32) (int, error) {
	h := unix.NewFileHandle(1, binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, number), 0))
	return unix.OpenByHandleAt(int(mnt.Fd()), h, unix.O_PATH|unix.O_NOFOLLOW)
}
