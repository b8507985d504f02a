package extfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"relive/extfs/internal/ondisk"
	"relive/tree"
	"relive/tree/systest"
)

// seedNames are the small images of testdata/seeds.sh.
func seedNames() []string {
	return []string{"seed-ext2", "seed-extents", "seed-inline", "seed-journal", "seed-fast-journal"}
}

// exercise opens an image and reads what there is, within bounds. Whatever is
// wrong must be an error of one of the two kinds.
func exercise(t testing.TB, img []byte) {
	t.Helper()
	deadline := time.Now().Add(systest.Within(10 * time.Second))
	fs, err := Open(bytes.NewReader(img), int64(len(img)), "image", WithCache(1<<20))
	if err != nil {
		checkKind(t, err)
		return
	}
	fs.Info()
	for _, err := range fs.FreeExtents() {
		checkKind(t, err)
	}
	for r, err := range fs.FreeRanges() {
		checkKind(t, err)
		if err == nil && (r.Start < 1024 || r.Length <= 0 || r.End() > int64(len(img))) {
			t.Fatalf("%+v is called free", r)
		}
	}
	exerciseRecovered(t, fs, img)
	root, err := fs.Root()
	if err != nil {
		checkKind(t, err)
		return
	}
	buf := make([]byte, 64<<10)
	nodes := 0
	var visit func(n *tree.Node, depth int)
	visit = func(n *tree.Node, depth int) {
		if nodes++; nodes > 1<<16 || depth > 1000 {
			t.Fatalf("%d nodes, %d deep, in an image of %d bytes", nodes, depth, len(img))
		}
		if time.Now().After(deadline) {
			t.Fatal("it takes too long")
		}
		if n.Type == tree.Regular {
			readSome(t, n, buf)
			locateSome(t, n, int64(len(img)))
			return
		}
		kids, err := n.Children()
		checkKind(t, err)
		for i, k := range kids {
			if err := tree.CheckName(k.Name); err != nil || i > 0 && kids[i-1].Name >= k.Name {
				t.Fatalf("%q: %v", k.Name, err)
			}
			visit(k, depth+1)
		}
	}
	visit(root, 0)
}

// exerciseRecovered reads the recovered device. It needs no recovery any more.
func exerciseRecovered(t testing.TB, fs *FS, img []byte) {
	r, err := fs.Recovered()
	if err != nil {
		checkKind(t, err)
		return
	}
	readRecovered(t, r, img)
	again, err := Open(r, r.Size(), "recovered")
	if err != nil {
		t.Fatalf("recovered: %v", err)
	}
	if again.Info().NeedsRecovery {
		t.Fatal("recovered, and needs recovery")
	}
	if twice, err := again.Recovered(); err != nil || len(twice.changed) > 0 {
		t.Fatalf("recovered again: %v", err)
	}
}

// locateSome goes over a file's ranges.
func locateSome(t testing.TB, n *tree.Node, deviceSize int64) {
	count, at := 0, int64(0)
	for r, err := range n.Data.(Located).Ranges() {
		if errors.Is(err, ErrInline) {
			break
		}
		checkKind(t, err)
		if err != nil {
			break
		}
		if r.Logical < at || r.Length <= 0 || r.Logical+r.Length > n.Size || r.Physical <= 0 || r.Physical+r.Length > deviceSize {
			t.Fatalf("%+v after %d", r, at)
		}
		at = r.Logical + r.Length
		if count++; count == 50 {
			return // SameBlocks would go on
		}
	}
	_, err := SameBlocks(n.Data, n.Data, func(int64, int64) bool { return false })
	checkKind(t, err)
}

func readSome(t testing.TB, n *tree.Node, buf []byte) {
	c, err := n.Open()
	if err != nil {
		checkKind(t, err)
		return
	}
	defer c.Close()
	off := int64(0)
	for range 50 {
		start, end, err := c.NextData(off)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			checkKind(t, err)
			return
		}
		if start < off || end <= start || end > n.Size {
			t.Fatalf("NextData(%d) = %d, %d of %d", off, start, end, n.Size)
		}
		if err := tree.ReadFull(c, buf[:min(int64(len(buf)), end-start)], start); err != nil {
			checkKind(t, err)
			return
		}
		off = end
	}
}

func checkKind(t testing.TB, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, tree.ErrUnsupported) {
		t.Fatalf("%v (%T)", err, err)
	}
}

// patch changes an image: each patch is four bytes of where and two of what.
// Where the position falls between blocks of interest is up to spots.
func patch(img []byte, patches []byte, spots []int64) []byte {
	img = bytes.Clone(img)
	for ; len(patches) >= 6; patches = patches[6:] {
		at := int64(binary.LittleEndian.Uint32(patches))
		if len(spots) > 0 {
			at = spots[at/1024%int64(len(spots))]*1024 + at%1024
		} else {
			at %= int64(len(img))
		}
		img[at] = patches[4]
		img[min(at+1, int64(len(img))-1)] = patches[5]
	}
	return img
}

// FuzzOpen changes bytes anywhere in an image.
func FuzzOpen(f *testing.F) {
	var images [][]byte
	for _, name := range seedNames() {
		images = append(images, fixture(f, name))
	}
	for i := range images {
		f.Add(uint8(i), []byte{})
		f.Add(uint8(i), []byte{0x04, 4, 0, 0, 0xFF, 0xFF, 0x10, 0x20, 1, 0, 0, 0})
	}
	f.Fuzz(func(t *testing.T, which uint8, patches []byte) {
		exercise(t, patch(images[int(which)%len(images)], patches, nil))
	})
}

// FuzzMetadata changes bytes in what a walk of the image reads.
func FuzzMetadata(f *testing.F) {
	type image struct {
		data  []byte
		spots []int64
	}
	var images []image
	for _, name := range seedNames() {
		img := fixture(f, name)
		r := &recorder{r: bytes.NewReader(img)}
		fs, err := Open(r, int64(len(img)), "image")
		if err != nil {
			f.Fatal(err)
		}
		err = tree.Walk(f.Context(), rootOf(f, fs), func(string, *tree.Node) error { return nil })
		if err != nil {
			f.Fatal(err)
		}
		images = append(images, image{img, r.spots})
	}
	for i := range images {
		f.Add(uint8(i), []byte{})
		for k := range byte(20) {
			f.Add(uint8(i), []byte{4 * k, 4 * k, 0, 0, k, 0xFF, 6, 4 * k, 0, 0, 0, 0})
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, patches []byte) {
		img := images[int(which)%len(images)]
		exercise(t, patch(img.data, patches, img.spots))
	})
}

// recorder notes the blocks that are read.
type recorder struct {
	r     io.ReaderAt
	spots []int64
}

func (r *recorder) ReadAt(p []byte, off int64) (int, error) {
	for at := off / 1024; at < (off+int64(len(p))+1023)/1024; at++ {
		r.spots = append(r.spots, at)
	}
	return r.r.ReadAt(p, off)
}

// FuzzJournal changes bytes in the log and in the fast commit area.
func FuzzJournal(f *testing.F) {
	var images [][]byte
	var spots [][]int64
	for _, name := range []string{"seed-journal", "seed-fast-journal"} {
		img := fixture(f, name)
		fs := openBytes(f, img)
		if fs.Info().Journal.ReplayBlocks == 0 {
			f.Fatalf("%s: %+v", name, fs.Info().Journal)
		}
		j, err := fs.loadJournal()
		if err != nil {
			f.Fatal(err)
		}
		var blocks []int64
		for n := range j.blocks {
			at, err := j.physical(n)
			if err != nil {
				f.Fatal(err)
			}
			if n == 0 || ondisk.BE32(img[at*1024:], 0) == ondisk.JBDMagic || n > j.last && !tree.IsZero(img[at*1024:][:1024]) {
				blocks = append(blocks, int64(at))
			}
		}
		images, spots = append(images, img), append(spots, blocks)
	}
	for i := range images {
		for k := range byte(24) {
			f.Add(uint8(i), []byte{k, 4 * k, 0, 0, k, 1, 12, 8 * k, 0, 0, 0, 0})
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, patches []byte) {
		i := int(which) % len(images)
		exercise(t, patch(images[i], patches, spots[i]))
	})
}

// FuzzFastCommit hands tags with a right checksum to the replay.
func FuzzFastCommit(f *testing.F) {
	img := fixture(f, "seed-fast-journal")
	f.Add([]byte{5, 12, 0, 2, 0, 0, 0, 12, 0, 0, 0, 'f', 'i', 'l', 'e'})
	f.Add([]byte{1, 16, 0, 12, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 100, 0, 0, 0, 2, 12, 0, 12, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0})
	f.Add([]byte{3, 9, 0, 2, 0, 0, 0, 13, 0, 0, 0, 'n', 4, 9, 0, 2, 0, 0, 0, 11, 0, 0, 0, 'm'})
	f.Fuzz(func(t *testing.T, data []byte) {
		fs := openBytes(t, img)
		fs.fast = nil
		var tags []fastCommit
		for len(data) >= 3 {
			kind, n := uint16(data[0]), int(binary.LittleEndian.Uint16(data[1:]))
			if data = data[3:]; n > len(data) || !fastCommitLength(kind, n) {
				break
			}
			tags = append(tags, fastCommit{kind, data[:n]})
			data = data[n:]
		}
		if err := fs.replayFastCommits(tags); err != nil {
			checkKind(t, err)
			return
		}
		root, err := fs.Root()
		if err != nil {
			checkKind(t, err)
			return
		}
		checkKind(t, tree.Walk(t.Context(), root, func(_ string, n *tree.Node) error {
			if n.Type == tree.Regular {
				readSome(t, n, make([]byte, 4096))
			}
			return nil
		}))
	})
}

// FuzzAttributes decodes attributes, in a block or an inode's body, and ACLs.
func FuzzAttributes(f *testing.F) {
	img := fixture(f, "seed-extents")
	fs := openBytes(f, img)
	n, err := rootOf(f, fs).Lookup("file")
	if err != nil {
		f.Fatal(err)
	}
	in, err := fs.inode(uint32(n.Inode.Number))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(in.body[ondisk.XABodyHdrSize:])
	f.Add([]byte{1, 0, 0, 0, 1, 0, 7, 0})
	f.Add([]byte{1, 0, 0, 0, 1, 0, 7, 0, 2, 0, 5, 0, 0xE8, 3, 0, 0, 4, 0, 4, 0, 0x10, 0, 7, 0, 0x20, 0, 0, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		in := &inode{number: 12, body: append([]byte{0, 0, 2, 0xEA}, p...)}
		_, err := fs.xattrs(in)
		checkKind(t, err)
		if acl, err := ondisk.DecodeACL(p); err == nil && len(acl)%ondisk.ACLXattrSize != ondisk.ACLHdrSize && acl != "" {
			t.Errorf("%x gives %x", p, acl)
		}
	})
}
