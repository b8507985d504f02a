package iso

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"relive/tree"
	"relive/tree/systest"
)

// seedNames are the small images of testdata/seeds.sh.
var seedNames = []string{"rock", "rrip112", "relocated", "plain", "zisofs-off", "zisofs-on"}

// fixture reads an image of testdata.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	return systest.Unpack(t, filepath.Join("testdata", "seed-"+name+".iso.zst"))
}

// readAll reads all that there is to read of an image, within bounds; the first
// error of each part is kept. Whatever is wrong must be of one of the two
// kinds.
func readAll(t testing.TB, p []byte, names Names) (errs []error) {
	t.Helper()
	keep := func(err error) bool {
		if err == nil || errors.Is(err, ErrNoMD5) {
			return true
		}
		if !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, tree.ErrUnsupported) {
			t.Fatalf("%v (%T)", err, err)
		}
		errs = append(errs, err)
		return false
	}
	deadline := time.Now().Add(systest.Within(10 * time.Second))
	Is(bytes.NewReader(p), int64(len(p)))
	img, err := Open(bytes.NewReader(p), int64(len(p)), "image", WithNames(names))
	if !keep(err) {
		return errs
	}
	img.Info()
	_, err = img.ElTorito()
	keep(err)
	_, err = img.SystemArea()
	keep(err)
	_, _, err = img.Replay(t.Context())
	keep(err)
	if int64(len(p)) < 1<<20 {
		_, err = img.CheckMD5(t.Context(), nil)
		keep(err)
	}
	root, err := img.Root()
	if !keep(err) {
		return errs
	}
	buf := make([]byte, 64<<10)
	nodes := 0
	var visit func(n *tree.Node, depth int)
	visit = func(n *tree.Node, depth int) {
		// A record has 34 bytes and stands in one place of the tree.
		if nodes++; nodes > len(p)/34 || depth > len(p)/sectorSize {
			t.Fatalf("%d nodes, %d deep, in an image of %d bytes", nodes, depth, len(p))
		}
		if time.Now().After(deadline) {
			t.Fatal("it takes too long")
		}
		if n.Type == tree.Regular {
			keep(readSome(t, n, buf))
			return
		}
		kids, err := n.Children()
		keep(err)
		for i, k := range kids {
			if err := tree.CheckName(k.Name); err != nil || i > 0 && kids[i-1].Name >= k.Name || k.Type == 0 ||
				(k.Dir != nil) != (k.Type == tree.Directory) {
				t.Fatalf("%+v: %v", k, err)
			}
			visit(k, depth+1)
		}
	}
	visit(root, 0)
	return errs
}

func readSome(t testing.TB, n *tree.Node, buf []byte) error {
	c, err := n.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	if c.Size() != n.Size {
		t.Fatalf("%s: %d bytes, not %d", n.Name, c.Size(), n.Size)
	}
	for off, i := int64(0), 0; i < 50; i++ {
		start, end, err := c.NextData(off)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil || start < off || end <= start || end > n.Size {
			t.Fatalf("NextData(%d) = %d, %d of %d: %v", off, start, end, n.Size, err)
		}
		k := min(int64(len(buf)), end-start)
		if err := tree.ReadFull(c, buf[:k], start); err != nil {
			return err
		}
		off = start + k
	}
	return nil
}

// The seeds are whole.
func TestSeeds(t *testing.T) {
	for _, name := range seedNames {
		p := fixture(t, name)
		names := []Names{Best, Plain}
		if name == "rock" || name == "relocated" {
			names = append(names, Joliet, RockRidge)
		}
		for _, n := range names {
			if errs := readAll(t, p, n); errs != nil {
				t.Errorf("%s: %v", name, errs)
			}
		}
	}
}

// recorder notes the sectors that are read.
type recorder struct {
	r     io.ReaderAt
	mu    sync.Mutex
	spots []int64
	seen  map[int64]bool
}

func (r *recorder) ReadAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[int64]bool{}
	}
	for at := off / sectorSize; at*sectorSize < off+int64(len(p)); at++ {
		if !r.seen[at] {
			r.seen[at] = true
			r.spots = append(r.spots, at)
		}
	}
	return r.r.ReadAt(p, off)
}

// patch changes an image: each patch is two bytes of which sector of spots, two
// of where in it, and two of what.
func patch(img []byte, patches []byte, spots []int64) []byte {
	img = bytes.Clone(img)
	for ; len(patches) >= 6; patches = patches[6:] {
		sector := spots[int(binary.LittleEndian.Uint16(patches))%len(spots)]
		at := sector*sectorSize + int64(binary.LittleEndian.Uint16(patches[2:]))%sectorSize
		if at+1 < int64(len(img)) {
			img[at], img[at+1] = patches[4], patches[5]
		}
	}
	return img
}

// FuzzOpen changes bytes of what a walk of the image reads.
func FuzzOpen(f *testing.F) {
	type image struct {
		data  []byte
		spots []int64
	}
	var images []image
	for i, name := range seedNames {
		p := fixture(f, name)
		r := &recorder{r: bytes.NewReader(p)}
		img, err := Open(r, int64(len(p)), "image")
		if err != nil {
			f.Fatal(err)
		}
		if _, err = img.ElTorito(); err != nil {
			f.Fatal(err)
		}
		if _, err = img.SystemArea(); err != nil {
			f.Fatal(err)
		}
		if err := tree.Walk(f.Context(), rootOf(f, img), func(string, *tree.Node) error { return nil }); err != nil {
			f.Fatal(err)
		}
		images = append(images, image{p, r.spots})
		f.Add(uint8(i), uint8(0), []byte{})
		for s := range r.spots {
			f.Add(uint8(i), uint8(s%4), []byte{byte(s), 0, 60, 0, 0xFF, 0xFF, byte(s), 0, 150, 0, 0, 0})
		}
	}
	f.Fuzz(func(t *testing.T, which, names uint8, patches []byte) {
		img := images[int(which)%len(images)]
		readAll(t, patch(img.data, patches, img.spots), Names(names%4))
	})
}

// FuzzSystemUse decodes any bytes as system use area of a record, in an image
// that has continuation areas.
func FuzzSystemUse(f *testing.F) {
	p := fixture(f, "rock")
	img := memory(f, p)
	err := tree.Walk(f.Context(), rootOf(f, img), func(_ string, n *tree.Node) error {
		d, ok := n.Dir.(*dir)
		if !ok {
			return nil
		}
		return d.scan(func(r *record, _ int64) error {
			f.Add(bytes.Clone(r.su))
			return nil
		})
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("SL\x0e\x01\x00\x01\x02us\x00\x01r\x08\x00SL\x07\x01\x00\x04\x00"))
	f.Add([]byte("TF\x27\x01\x83202011121314151600202011121314151617\xf4"))
	f.Add([]byte("SF\x15\x01\x01\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x01"))
	f.Fuzz(func(t *testing.T, area []byte) {
		l := newLister(img, &dir{img: img, block: img.vol.root.block(), length: img.vol.root.size})
		r := record{extent: 20, size: 10, date: make([]byte, 7), id: []byte("A.;1"), su: area}
		err := l.add(&r, 0)
		if err != nil && !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, tree.ErrUnsupported) {
			t.Fatal(err)
		}
		if len(l.attrs.name) > 255 || len(l.attrs.target) > maxTarget+256 {
			t.Fatalf("a name of %d bytes, a target of %d", len(l.attrs.name), len(l.attrs.target))
		}
		if err == nil && len(l.nodes) == 1 && strings.ContainsAny(l.nodes[0].Name, "/\x00") {
			t.Fatalf("%q", l.nodes[0].Name)
		}
	})
}

// FuzzImplantedMD5 decodes any bytes as the text of an implanted sum.
func FuzzImplantedMD5(f *testing.F) {
	p := fixture(f, "rock")
	img := memory(f, p)
	area := img.set.primary.raw[vdAppUse:][:vdAppUseSize]
	f.Add(bytes.Clone(area))
	f.Add([]byte("ISO MD5SUM = 0123456789abcdef0123456789abcdef;SKIPSECTORS = -1;FRAGMENT COUNT = 0;"))
	f.Fuzz(func(t *testing.T, text []byte) {
		v := *img.set.primary
		v.raw = bytes.Clone(v.raw)
		copy(v.raw[vdAppUse:][:vdAppUseSize], text)
		other := &Image{r: img.r, size: img.size, name: img.name, set: img.set}
		other.set.primary = &v
		res, err := other.CheckMD5(t.Context(), nil)
		if err != nil && !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, ErrNoMD5) {
			t.Fatal(err)
		}
		if res.Checked > img.size || res.Total < 0 {
			t.Fatalf("%+v", res)
		}
	})
}
