package fat

import (
	"io"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// hostile is a patched image as content.
type hostile struct {
	patched
}

func (h hostile) Size() int64  { return int64(len(h.img)) }
func (h hostile) Close() error { return nil }
func (h hostile) NextData(off int64) (int64, int64, error) {
	return tree.WholeData(off, h.Size())
}

// FuzzRewrite rewrites damaged images: the result is an error, or an image that
// opens, has the edited tree, and is not much larger.
func FuzzRewrite(f *testing.F) {
	kinds := []string{"fat12", "fat16", "fat32"}
	for kind := range kinds {
		f.Add(uint8(kind), []byte{})
		f.Add(uint8(kind), []byte{52, 0, 0, 0, 1, 1, 1, 0, 0, 0, 2, 2})
		f.Add(uint8(kind), []byte{0x6E, 0, 0, 0, 5, 0, 0x82, 0, 0, 0, 9, 0})
		f.Add(uint8(kind), []byte("\x0c\x00\x00\x00SY\x14\x00\x00\x00SL\x1c\x00\x00\x00IN\x24\x00\x00\x00UX"))
	}
	f.Fuzz(func(t *testing.T, kind uint8, patches []byte) {
		img := fixtureOnce(t, kinds[int(kind)%len(kinds)])
		fs, err := Open(hostile{patched{img: img}}, int64(len(img)), "image")
		systest.Must(t, err)
		in := hostile{patch(img, fs.vol, patches)}
		add := put(map[string][]byte{"new/name of a file": make([]byte, 70000), "README": nil})
		data, size, changed, err := Rewrite(t.Context(), in, "image", add)
		if err != nil {
			checkKind(t, err)
			return
		}
		if !changed {
			t.Fatal("nothing has changed")
		}
		if size > in.Size()*3+1<<20 {
			t.Fatalf("%d bytes became %d", in.Size(), size)
		}
		c, err := data.Open()
		systest.Must(t, err)
		defer c.Close()
		is, err := Open(c, size, "new image")
		systest.Must(t, err)
		was, err := Open(in, in.Size(), "image")
		systest.Must(t, err)
		want, err := add(rootOf(t, was))
		systest.Must(t, err)
		err = tree.Compare(t.Context(), want, rootOf(t, is), tree.CompareOptions{SameContent: alike}, func(c tree.Change) error {
			if c.Diff != tree.Mode && c.Diff != tree.Mtimes {
				t.Errorf("%s: %s", c.Path, c.Diff)
			}
			return nil
		})
		systest.Must(t, err)
	})
}

// alike compares what can be read of two files.
func alike(_ string, a, b *tree.Node) (bool, error) {
	x, err := a.Open()
	if err != nil {
		return true, nil // broken before
	}
	y, err := b.Open()
	if err != nil {
		return false, err
	}
	p, q := make([]byte, min(a.Size, 5000)), make([]byte, min(a.Size, 5000))
	if err := tree.ReadFull(x, p, 0); err != nil && err != io.EOF {
		return true, nil
	}
	return string(p) == string(q) || tree.ReadFull(y, q, 0) == nil && string(p) == string(q), nil
}

// fixtureOnce is a fixture that is not written to.
func fixtureOnce(t testing.TB, name string) []byte {
	if img, ok := unpacked.Load(name); ok {
		return img.([]byte)
	}
	return fixture(t, name)
}
