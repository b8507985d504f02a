package erofs

import (
	"fmt"
	"testing"

	"relive/codec"
	"relive/tree"
)

// fuzzTree makes a tree of bytes: each name, content and attribute takes from them what
// it needs.
type fuzzTree struct{ b []byte }

func (f *fuzzTree) next() int {
	if len(f.b) == 0 {
		return 0
	}
	n := f.b[0]
	f.b = f.b[1:]
	return int(n)
}

func (f *fuzzTree) bytes(n int) []byte {
	n = min(n, len(f.b))
	out := f.b[:n:n]
	f.b = f.b[n:]
	return out
}

func (f *fuzzTree) dir(name string, depth int) *tree.Node {
	var kids []*tree.Node
	seen := map[string]bool{}
	for range f.next() % 9 {
		name := string(f.bytes(1 + f.next()%20))
		if tree.CheckName(name) != nil || seen[name] {
			continue
		}
		seen[name] = true
		var n *tree.Node
		switch kind := f.next() % 8; {
		case kind == 0 && depth < 5:
			n = f.dir(name, depth+1)
		case kind == 1:
			n = tree.NewSymlink(name, "t"+fmt.Sprintf("%x", f.bytes(f.next())))
		case kind == 2:
			device := tree.Rdev{Major: uint32(f.next()), Minor: uint32(f.next())}
			n = &tree.Node{Name: name, Meta: tree.Meta{Type: tree.CharDevice, Rdev: device}}
		default:
			// Repeated pieces, between them pieces that are not.
			var b []byte
			for range f.next() % 6 {
				piece := f.bytes(f.next())
				for range f.next() * f.next() % 900 {
					b = append(b, piece...)
				}
			}
			n = tree.NewFile(name, 0o644, b)
		}
		n.UID, n.Perm, n.Mtime = uint32(f.next())<<12, uint16(f.next())<<4&0o7777, tree.Time{Sec: int64(f.next()) << 24}
		for i := range f.next() % 4 {
			n.Xattrs = append(n.Xattrs, tree.Xattr{Name: fmt.Sprintf("user.%d", i), Value: string(f.bytes(f.next()))})
		}
		kids = append(kids, n)
	}
	return tree.NewDir(name, 0o755, kids...)
}

// FuzzWrite writes trees that are made of bytes, with every set of options that is fast,
// and reads them: they are the same, and so is what is written from what was read.
func FuzzWrite(f *testing.F) {
	f.Add(uint8(0), []byte("\x03\x01a\x07\x02\x09seed text\x20\x20\x05more\x05\x05"))
	f.Add(uint8(7), []byte("\x08\x04name\x00\x02\x01x\x05\x03\xff0123456789\xff\xff"))
	m := newTreeMaker(15)
	for i := range 12 {
		f.Add(uint8(i), m.mixture(4000))
	}
	var sets []writeSet
	for _, set := range writeSets() {
		if len(set.o.Compressions) == 0 || set.o.Compressions[0].Algorithm == codec.RawLZ4 {
			sets = append(sets, set)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		set := sets[int(which)%len(sets)]
		root := (&fuzzTree{b}).dir("", 0)
		image, _ := writeImage(t, root, set.o)
		r := openBytes(t, image)
		want := withTime(root, set.o.AllTime)
		if d := differences(t, want, rootOf(t, r)); d != "" {
			t.Fatalf("%s: Read(Write(t)) differs:\n%.2000s", set.name, d)
		}
		verifyClean(t, r)
		o, err := WriteOptionsLike(r)
		if err != nil {
			t.Fatal(err)
		}
		o.AllTime, o.NoDead = set.o.AllTime, which >= 128
		image, _ = writeImage(t, changeTree(t, newTreeMaker(uint64(len(b))), rootOf(t, r), 0), o)
		verifyClean(t, openBytes(t, image))
	})
}
