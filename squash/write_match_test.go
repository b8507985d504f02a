package squash

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"relive/codec"
	"relive/squash/internal/ondisk"
	"relive/tree"
)

// oneFile returns a base image of one file, and the file's node there.
func oneFile(t testing.TB, content []byte, flags uint16) (*tree.Node, WriteOptions) {
	t.Helper()
	o := WriteOptions{Library: library(t), Codec: quick(codec.LZ4, 4096), BlockSize: 4096, Flags: flags}
	image, _ := writeImage(t, tree.NewDir("", 0o755, tree.NewFile("f", 0o644, content)), o)
	return lookup(t, rootOf(t, openImage(t, image, o.Library)), "f"), o
}

// A file that a layer changed keeps those blocks of the layer below that are
// equal, at the same place, and of the same length.
func TestWritePrior(t *testing.T) {
	const bs = 4096
	rnd := fixedRand()
	noise := func(n int) []byte {
		b := make([]byte, n)
		rnd.Read(b)
		return b
	}
	change := func(b []byte, at ...int) []byte {
		b = bytes.Clone(b)
		for _, i := range at {
			b[i] ^= 1
		}
		return b
	}
	long, exact, short := noise(5*bs+500), noise(4*bs), noise(700)
	holes := noise(6*bs + 30)
	clear(holes[2*bs : 4*bs])
	zeroed := bytes.Clone(long)
	clear(zeroed[bs : 2*bs])
	filled := bytes.Clone(holes)
	copy(filled[2*bs:], "no hole any more")
	for _, c := range []struct {
		name     string
		was, now []byte
	}{
		{"the same", long, long},
		{"the same, short", short, short},
		{"the same, whole blocks", exact, exact},
		{"the same, holes", holes, holes},
		{"the same, zeros", make([]byte, 3*bs), make([]byte, 3*bs)},
		{"the middle changed", long, change(long, 2*bs+7)},
		{"the first byte", long, change(long, 0)},
		{"the tail", long, change(long, 5*bs)},
		{"the last byte of the last block", long, change(long, 5*bs-1)},
		{"every block", long, change(long, 0, bs, 2*bs, 3*bs, 4*bs, 5*bs)},
		{"all but the tail", long, change(long, 0, bs, 2*bs, 3*bs, 4*bs)},
		{"appended within the tail", long, append(bytes.Clone(long), 'x')},
		{"appended to whole blocks", exact, append(bytes.Clone(exact), 'x')},
		{"appended up to whole blocks", long, append(bytes.Clone(long), noise(bs-500)...)},
		{"appended blocks", exact, append(bytes.Clone(exact), noise(3*bs+5)...)},
		{"truncated to blocks", long, long[:3*bs]},
		{"truncated in a block", long, long[:3*bs+10]},
		{"truncated in the tail", long, long[:5*bs+100]},
		{"truncated to a tail", long, long[:900]},
		{"one byte in front", long, append([]byte{0}, long...)},
		{"a block became zeros", long, zeroed},
		{"a hole became data", holes, filled},
		{"short and changed", short, change(short, 5)},
		{"nothing before", nil, long},
		{"nothing now", long, nil},
	} {
		for _, before := range []uint16{0, FlagAlwaysFragments, FlagNoFragments} {
			for _, flags := range []uint16{0, FlagAlwaysFragments, FlagNoFragments} {
				name := fmt.Sprintf("%s, %#x, then %#x", c.name, before, flags)
				old, o := oneFile(t, c.was, before)
				n := *tree.NewFile("f", 0o644, c.now)
				n.Was = old.Data
				o.Flags = flags
				root := tree.NewDir("", 0o755, &n)
				image, plan := writeImage(t, root, o)
				r := openImage(t, image, o.Library)
				verifyClean(t, r)
				sameTree(t, name, root, rootOf(t, r))

				// What is kept, by the rule.
				s, err := old.Data.(storer).storedForm()
				if err != nil {
					t.Fatal(err)
				}
				f := plan.files.at(0)
				blocks, kept := plan.blockCount(int64(len(c.now))), 0
				for i := range blocks {
					want := false
					if i < len(s.Blocks) {
						a, b := c.was[i*bs:min((i+1)*bs, len(c.was))], c.now[i*bs:min((i+1)*bs, len(c.now))]
						want = bytes.Equal(a, b)
					}
					if want {
						kept++
					}
					if got := f.kind == storedFile || f.more.keep.has(i); got != want {
						t.Errorf("%s: block %d kept: %v", name, i, got)
					}
				}
				tail := plan.tailInFragment(int64(len(c.now))) && s.Fragment != ondisk.NoFragment && len(c.was) == len(c.now) &&
					bytes.Equal(c.was[len(s.Blocks)*bs:], c.now[len(s.Blocks)*bs:])
				want := freshFile
				switch {
				case len(c.now) == 0:
					want = emptyFile
				case bytes.Equal(c.was, c.now) && blocks == len(s.Blocks):
					want = storedFile
				case kept > 0 || tail:
					want = mixedFile
				}
				if f.kind != want {
					t.Errorf("%s: kind %d, not %d", name, f.kind, want)
				}
				st := plan.Stats
				if (st.MixedFiles == 1) != (want == mixedFile) || (st.ReusedFiles == 1) != (want == storedFile) {
					t.Errorf("%s: %+v", name, st)
				}
			}
		}
	}
}

// A mixed file's tail goes with its fragment block, or anew where that is
// taken apart.
func TestWritePriorTailRepacked(t *testing.T) {
	rnd := fixedRand()
	long := make([]byte, 3*4096+200)
	rnd.Read(long)
	kids := []*tree.Node{tree.NewFile("a", 0o644, long)}
	for i := range 8 {
		b := make([]byte, 480)
		rnd.Read(b)
		kids = append(kids, tree.NewFile(fmt.Sprint("b", i), 0o644, b))
	}
	o := WriteOptions{Library: library(t), Codec: quick(codec.LZ4, 4096), BlockSize: 4096, Flags: FlagAlwaysFragments}
	image, _ := writeImage(t, tree.NewDir("", 0o755, kids...), o)
	base := rootOf(t, openImage(t, image, o.Library))
	old := lookup(t, base, "a")
	changed := bytes.Clone(long)
	changed[4096]++
	for _, alone := range []bool{true, false} {
		root := apply(t, base, func(e *tree.Edits) {
			n := *tree.NewFile("", 0o644, changed)
			n.Was = old.Data
			e.Put("a", &n)
			for i := range 8 {
				if alone {
					e.Remove(fmt.Sprint("b", i))
				}
			}
		})
		image, plan := writeImage(t, root, o)
		r := openImage(t, image, o.Library)
		verifyClean(t, r)
		sameTree(t, "tail", root, rootOf(t, r))
		want := int64(4096)
		if alone {
			want += 200
		}
		if plan.Stats.MixedFiles != 1 || plan.Stats.CompressBytes != want || (plan.Stats.RepackedBlocks == 1) != alone {
			t.Errorf("alone %v: %+v, %d bytes to compress expected", alone, plan.Stats, want)
		}
	}
}

// Fragment blocks: all dead are dropped, mostly dead ones are taken apart, and
// of the others the emptiest, until the dead bytes are within MaxDead.
func TestWriteFragmentUse(t *testing.T) {
	rnd := fixedRand()
	var kids []*tree.Node
	for i := range 48 { // eight in each of six fragment blocks
		b := make([]byte, 500)
		rnd.Read(b)
		kids = append(kids, tree.NewFile(fmt.Sprintf("f%02d", i), 0o644, b))
	}
	twin := *kids[20]
	twin.Name = "twin" // shares a member of block 2
	kids = append(kids, &twin)
	o := WriteOptions{Library: library(t), Codec: quick(codec.LZ4, 4096), BlockSize: 4096, Flags: FlagDuplicates}
	image, _ := writeImage(t, tree.NewDir("", 0o755, kids...), o)
	base := openImage(t, image, o.Library)
	if base.fragmentCount() != 6 {
		t.Fatalf("%d fragment blocks", base.fragmentCount())
	}
	// Dead: all of block 0, five of 1, one of 2, two of 3, none of 4 and 5.
	root := apply(t, rootOf(t, base), func(e *tree.Edits) {
		for _, i := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 17, 24, 30} {
			e.Remove(fmt.Sprintf("f%02d", i))
		}
	})
	for _, c := range []struct {
		max      float64
		drop     string
		repacked int
		dead     bool
	}{
		{1, "[true true false false false false]", 1, true},
		// Three of 32 members are dead in what is left; without block 3, one of 24.
		{0.1, "[true true false false false false]", 1, true},
		{0.05, "[true true false true false false]", 2, true},
		{0.001, "[true true true true false false]", 3, false},
		{0, "[true true true true false false]", 3, false}, // the default
	} {
		o.MaxDead = c.max
		image, plan := writeImage(t, root, o)
		r := openImage(t, image, o.Library)
		verifyClean(t, r)
		sameTree(t, fmt.Sprint(c.max), root, rootOf(t, r))
		var drop []bool
		live := int64(0)
		for _, u := range plan.sources[0].frags {
			drop = append(drop, u.drop)
			if u.drop {
				live += int64(u.live)
			}
		}
		st := plan.Stats
		if fmt.Sprint(drop) != c.drop || st.RepackedBlocks != c.repacked || st.DeadBytes > 0 != c.dead || st.CompressBytes != live {
			t.Errorf("MaxDead %v: drops %v of %+v, to compress %d", c.max, drop, st, live)
		}
	}
}

// NoDead: not a byte of what is not in the tree is in the image, not even behind
// the last member, as an earlier writing may have left it there.
func TestWriteNoDead(t *testing.T) {
	rnd := fixedRand()
	var kids []*tree.Node
	for i := range 48 {
		b := make([]byte, 500)
		rnd.Read(b)
		kids = append(kids, tree.NewFile(fmt.Sprintf("f%02d", i), 0o644, b))
	}
	o := WriteOptions{Library: library(t), Codec: quick(codec.LZ4, 4096), BlockSize: 4096, MaxDead: 1}
	image, _ := writeImage(t, tree.NewDir("", 0o755, kids...), o)
	// f23 is the last member of its block, and dead for a generation already.
	once, _ := writeImage(t, apply(t, rootOf(t, openImage(t, image, o.Library)), func(e *tree.Edits) { e.Remove("f23") }), o)
	root := apply(t, rootOf(t, openImage(t, once, o.Library)), func(e *tree.Edits) { e.Remove("f08") })
	for _, noDead := range []bool{false, true} {
		o.NoDead = noDead
		image, plan := writeImage(t, root, o)
		r := openImage(t, image, o.Library)
		verifyClean(t, r)
		sameTree(t, "no dead", root, rootOf(t, r))
		for _, name := range []string{"f23", "f08"} {
			gone, err := tree.ReadAll(tree.Find(kids, name), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			// Random bytes are stored as they are.
			if found := bytes.Contains(image, gone[:100]); found == noDead {
				t.Errorf("NoDead %v: %s is in the image: %v", noDead, name, found)
			}
		}
		if noDead && (plan.Stats.DeadBytes != 0 || plan.Stats.RepackedBlocks != 2) {
			t.Errorf("%+v", plan.Stats)
		}
	}
}

// partOf shows a stored file that ends earlier, as an image may have it: two
// tails that start at one place.
type partOf struct {
	tree.Data
	stored storedContent
}

func (p partOf) Stored() (storedContent, error) { return p.stored, nil }

// Tails that overlap in a fragment block are told apart where it is repacked.
func TestWriteOverlappingTails(t *testing.T) {
	var kids []*tree.Node
	rnd := fixedRand()
	for i := range 8 {
		b := make([]byte, 500)
		rnd.Read(b)
		kids = append(kids, tree.NewFile(fmt.Sprint("f", i), 0o644, b))
	}
	o := WriteOptions{Library: library(t), Codec: quick(codec.LZ4, 4096), BlockSize: 4096}
	image, _ := writeImage(t, tree.NewDir("", 0o755, kids...), o)
	n := *lookup(t, rootOf(t, openImage(t, image, o.Library)), "f3")
	s, err := n.Data.(storer).storedForm()
	if err != nil {
		t.Fatal(err)
	}
	s.Size = 200
	short := *tree.NewFile("a-short", 0o644, contentOf(t, &n)[:200])
	short.Data = partOf{short.Data, s}
	n.Inode = tree.Inode{}
	root := tree.NewDir("", 0o755, &short, &n)
	written, plan := writeImage(t, root, o)
	if plan.Stats.RepackedBlocks != 1 || plan.Stats.CompressBytes != 700 {
		t.Errorf("%+v", plan.Stats)
	}
	r := openImage(t, written, o.Library)
	verifyClean(t, r)
	sameTree(t, "overlapping", root, rootOf(t, r))
}

// Equal files are stored once where that is asked for: new ones among each
// other and with what is copied; what the base has shared stays shared.
func TestWriteDuplicates(t *testing.T) {
	rnd := fixedRand()
	noise := func(n int) []byte {
		b := make([]byte, n)
		rnd.Read(b)
		return b
	}
	a, b, c, d := noise(9000), noise(9000), noise(300), noise(9000)
	o := WriteOptions{Library: library(t), Codec: quick(codec.LZ4, 4096), BlockSize: 4096, Flags: FlagDuplicates | FlagAlwaysFragments}
	image, basePlan := writeImage(t, tree.NewDir("", 0o755, tree.NewFile("a", 0o644, a), tree.NewFile("a2", 0o600, a),
		tree.NewFile("c", 0o644, c), tree.NewFile("d", 0o644, d)), o)
	if basePlan.Stats.DuplicateFiles != 1 {
		t.Errorf("the base: %+v", basePlan.Stats)
	}
	base := rootOf(t, openImage(t, image, o.Library))
	root := apply(t, base, func(e *tree.Edits) {
		for name, b := range map[string][]byte{"new/a": a, "new/b1": b, "new/b2": b, "new/b3": b, "new/c": c, "new/one": noise(9000),
			"z/1": make([]byte, 9000), "z/2": make([]byte, 9000), "z/3": make([]byte, 8192), "z/4": make([]byte, 8192),
			"z/5":  make([]byte, 100),
			"z/e1": nil, "z/e2": nil} {
			e.Put(name, tree.NewFile("", 0o644, b))
		}
	})
	place := func(r *Reader, path string) string {
		s, err := lookup(t, rootOf(t, r), path).Data.(storer).storedForm()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(s.Start, s.Blocks, s.Size, s.Fragment, s.FragmentOffset)
	}
	for _, flags := range []uint16{FlagDuplicates | FlagAlwaysFragments, FlagAlwaysFragments, FlagDuplicates} {
		o.Flags = flags
		image, plan := writeImage(t, root, o)
		r := openImage(t, image, o.Library)
		verifyClean(t, r)
		sameTree(t, fmt.Sprintf("%#x", flags), root, rootOf(t, r))
		dups := flags&FlagDuplicates != 0
		for _, pair := range [][2]string{{"new/b1", "new/b2"}, {"new/b1", "new/b3"}, {"a", "new/a"}, {"c", "new/c"}} {
			if same := place(r, pair[0]) == place(r, pair[1]); same != dups {
				t.Errorf("flags %#x: %v stored once: %v", flags, pair, same)
			}
		}
		if place(r, "a") != place(r, "a2") {
			t.Errorf("flags %#x: what the base shares is no longer shared", flags)
		}
		if place(r, "new/b1") == place(r, "new/one") {
			t.Error("files that differ are shared")
		}
		want := uint64(0)
		if dups {
			want = 6 // a, b2, b3, c, and two of the zeros
		}
		if plan.Stats.DuplicateFiles != want {
			t.Errorf("flags %#x: %d duplicates, not %d", flags, plan.Stats.DuplicateFiles, want)
		}
	}
}

// What the layer below has is only a hint: a file of another image, or of no
// image, does no harm.
func TestWriteForeignPrior(t *testing.T) {
	old, o := oneFile(t, bytes.Repeat([]byte("text "), 4000), 0)
	for _, was := range []tree.Data{tree.Bytes("something"), old.Data} {
		n := *tree.NewFile("f", 0o644, bytes.Repeat([]byte("text "), 4000))
		n.Was = was
		o.BlockSize, o.Codec = 8192, quick(codec.LZ4, 8192)
		root := tree.NewDir("", 0o755, &n)
		image, plan := writeImage(t, root, o)
		if plan.Stats.CopyBytes != 0 || plan.Stats.CompressBytes != n.Size {
			t.Errorf("%+v", plan.Stats)
		}
		sameTree(t, "foreign", root, rootOf(t, openImage(t, image, o.Library)))
	}
	if _, err := NewPlan(context.Background(), old, o); err == nil {
		t.Error("a file as the root is no error")
	}
}
