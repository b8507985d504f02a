package erofs

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// changeTree gives a tree with changes in it: files whose owner, name or content are
// others, new ones, copies, and some that are gone.
func changeTree(t testing.TB, m *treeMaker, n *tree.Node, round int) *tree.Node {
	t.Helper()
	kids, err := n.Children()
	if err != nil {
		t.Fatal(err)
	}
	var out tree.List
	for _, k := range kids {
		c := *k
		switch r := m.rnd.IntN(20); {
		case k.Type == tree.Directory:
			out = append(out, changeTree(t, m, k, round))
			continue
		case r == 0:
			continue // deleted
		case r == 1 && k.Nlink <= 1:
			c.UID = (c.UID + 1) % 100000
		case k.Type != tree.Regular || k.Nlink > 1:
		case r == 2: // as an overlay has it whose owner was changed
			b, err := tree.ReadAll(k, 64<<20)
			if err != nil {
				t.Fatal(err)
			}
			c.Data, c.Was, c.Perm, c.Inode = tree.Bytes(b), k.Data, c.Perm^0o1, tree.Inode{}
		case r == 3: // a log that grew
			b, err := tree.ReadAll(k, 64<<20)
			if err != nil {
				t.Fatal(err)
			}
			b = append(b, m.mixture(1+m.rnd.IntN(20000))...)
			c.Data, c.Was, c.Size, c.Inode = tree.Bytes(b), k.Data, int64(len(b)), tree.Inode{}
		case r == 4 || k.Size > 1<<20 && r < 12: // changed within
			b, err := tree.ReadAll(k, 64<<20)
			if err != nil {
				t.Fatal(err)
			}
			if len(b) == 0 {
				break
			}
			p := &patched{below: k.Data, b: b}
			for range 1 + m.rnd.IntN(3) {
				at := m.rnd.IntN(len(b))
				n := copy(b[at:], m.mixture(1+m.rnd.IntN(9000)))
				p.changed = append(p.changed, [2]int64{int64(at), int64(at + n)})
			}
			c.Data, c.Inode = p, tree.Inode{}
			if m.rnd.IntN(2) == 0 {
				c.Data, c.Was = tree.Bytes(b), k.Data
			}
		case r == 5: // a copy
			b, err := tree.ReadAll(k, 64<<20)
			if err != nil {
				t.Fatal(err)
			}
			if len(k.Name) > 200 {
				break
			}
			d := c
			d.Name, d.Data, d.Inode = k.Name+".copy", tree.Bytes(b), tree.Inode{}
			out = append(out, &d)
		}
		out = append(out, &c)
	}
	if m.rnd.IntN(3) == 0 {
		out = append(out, m.file(fmt.Sprintf("new-%d-%d", round, m.rnd.IntN(1000)), m.mixture(m.rnd.IntN(100000))))
	}
	tree.Sort(out)
	kept := out[:0]
	for i, k := range out {
		if i == 0 || k.Name != out[i-1].Name {
			kept = append(kept, k)
		}
	}
	c := *n
	c.Dir, c.Inode = kept, tree.Inode{}
	return &c
}

// patched is content with changes.
type patched struct {
	below   tree.Data
	b       []byte
	changed [][2]int64
}

func (p *patched) Open() (tree.Content, error) { return tree.Bytes(p.b).Open() }
func (p *patched) Below() tree.Data            { return p.below }
func (p *patched) ChangedIn(off, n int64) bool {
	for _, c := range p.changed {
		if off < c[1] && c[0] < off+n {
			return true
		}
	}
	return false
}

// Rounds of changes, for some sets ten or what RELIVE_ROUNDS says, each written with what did not change copied from the image
// before: each shows the tree that it was written from, and does not grow beyond one
// that is made anew.
func TestReuseRounds(t *testing.T) {
	for _, set := range writeSets() {
		t.Run(set.name, func(t *testing.T) {
			t.Parallel()
			m := newTreeMaker(9)
			b := sampleImage(t, set)
			rounds := 3
			if o := &set.o; !testing.Short() && (o.AllFragments || o.Tails && o.Fragments || o.Dedupe || o.Compact) {
				rounds = 10
			}
			if s := os.Getenv("RELIVE_ROUNDS"); s != "" {
				_, err := fmt.Sscan(s, &rounds)
				systest.Must(t, err)
			}
			seen := map[[16]byte]bool{}
			for round := range rounds {
				r := openBytes(t, b)
				if seen[r.super.UUID] {
					t.Error("a UUID comes again")
				}
				seen[r.super.UUID] = true
				o, err := WriteOptionsLike(r)
				if err != nil {
					t.Fatal(err)
				}
				if o.PclusterSize != max(set.o.PclusterSize, BlockSize) || o.incompat() != r.super.Incompat {
					t.Fatalf("other options: %+v", o)
				}
				o.AllTime = set.o.AllTime
				for i := range o.Compressions {
					o.Compressions[i].Options.Level = set.o.Compressions[i].Options.Level
				}
				next := changeTree(t, m, rootOf(t, r), round)
				var p *Plan
				b, p = writeImage(t, next, o)
				if p.Stats.ReusedFiles < p.Stats.Files/2 {
					t.Errorf("of %d files %d were reused", p.Stats.Files, p.Stats.ReusedFiles)
				}
				now := openBytes(t, b)
				if d := differences(t, withTime(next, set.o.AllTime), rootOf(t, now)); d != "" {
					t.Fatalf("round %d differs:\n%.3000s", round, d)
				}
				verifyClean(t, now)
				if round == rounds-1 {
					o.NoReuse = true
					fresh, _ := writeImage(t, next, o)
					t.Logf("%d bytes, anew %d; %+v", len(b), len(fresh), p.Stats)
					if len(b) > len(fresh)*11/10 {
						t.Errorf("%d bytes, anew %d", len(b), len(fresh))
					}
				}
			}
		})
	}
}

// Where nothing changes, and where owners alone do, nothing is compressed.
func TestReuseAll(t *testing.T) {
	for _, set := range writeSets() {
		t.Run(set.name, func(t *testing.T) {
			t.Parallel()
			b := sampleImage(t, set)
			r := openBytes(t, b)
			o, err := WriteOptionsLike(r)
			if err != nil {
				t.Fatal(err)
			}
			root := rootOf(t, r)
			kids, err := root.Children()
			if err != nil {
				t.Fatal(err)
			}
			var out tree.List
			for _, k := range kids {
				c := *k
				if k.Type == tree.Regular && k.Nlink == 1 {
					content, err := tree.ReadAll(k, 64<<20)
					if err != nil {
						t.Fatal(err)
					}
					c.Data, c.Was, c.UID = tree.Bytes(content), k.Data, c.UID+1
				}
				out = append(out, &c)
			}
			changed := *root
			changed.Dir, changed.Inode = out, tree.Inode{}
			b2, p := writeImage(t, &changed, o)
			if p.Stats.CompressBytes > 64<<10 || p.Stats.RepackedExtents > 1 {
				t.Errorf("%+v", p.Stats)
			}
			r2 := openBytes(t, b2)
			if d := differences(t, &changed, rootOf(t, r2)); d != "" {
				t.Errorf("differs:\n%.3000s", d)
			}
			// New packed data begins with a pack of the index.
			if len(b2) > len(b)+1<<16 {
				t.Errorf("%d bytes, before %d", len(b2), len(b))
			}
		})
	}
}

// With NoDead nothing of what is not in the tree is in the image, neither in packed
// data nor in streams that files share.
func TestReuseNoDead(t *testing.T) {
	for _, set := range writeSets() {
		t.Run(set.name, func(t *testing.T) {
			t.Parallel()
			m := newTreeMaker(6)
			secret := m.noise(300)
			var kids []*tree.Node
			for i := range 200 {
				kids = append(kids, m.file(fmt.Sprintf("f%03d", i), m.text(2000+i)))
			}
			kids = append(kids, m.file("f100-secret", secret))
			b, _ := writeImage(t, tree.NewDir("", 0o755, kids...), set.o)
			r := openBytes(t, b)
			o, err := WriteOptionsLike(r)
			if err != nil {
				t.Fatal(err)
			}
			var e tree.Edits
			e.Remove("f100-secret")
			root, err := e.Apply(rootOf(t, r))
			if err != nil {
				t.Fatal(err)
			}
			o.NoDead, o.MaxDead = true, 1
			b2, _ := writeImage(t, root, o)
			r2 := openBytes(t, b2)
			if d := differences(t, root, rootOf(t, r2)); d != "" {
				t.Errorf("differs:\n%.3000s", d)
			}
			all := b2
			if r2.packed != nil {
				packed := make([]byte, r2.packed.Size())
				if err := tree.ReadFull(r2.packed, packed, 0); err != nil {
					t.Fatal(err)
				}
				all = append(all, packed...)
			}
			if bytes.Contains(all, secret[:100]) {
				t.Error("the secret is still there")
			}
			o.NoDead = false
			b3, _ := writeImage(t, root, o)
			r3 := openBytes(t, b3)
			if r3.packed != nil {
				packed := make([]byte, r3.packed.Size())
				if err := tree.ReadFull(r3.packed, packed, 0); err != nil {
					t.Fatal(err)
				}
				if !bytes.Contains(packed, secret[:100]) && strings.Contains(set.name, "m") {
					t.Log("it is gone without being asked for, too")
				}
			}
		})
	}
}
