package fat

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"relive/tree"
)

// patched is an image with some bytes replaced; the large ones are not copied.
type patched struct {
	img   []byte
	bytes map[int64]byte
}

func (p patched) ReadAt(b []byte, off int64) (int, error) {
	n, err := bytes.NewReader(p.img).ReadAt(b, off)
	for at, v := range p.bytes {
		if at >= off && at < off+int64(n) {
			b[at-off] = v
		}
	}
	return n, err
}

// patch takes patches of four bytes of where and two of what. Every other one
// falls into the boot sector, a table or the first clusters.
func patch(img []byte, vol volume, patches []byte) patched {
	out := patched{img, map[int64]byte{}}
	for ; len(patches) >= 6; patches = patches[6:] {
		at := int64(binary.LittleEndian.Uint32(patches))
		switch at & 3 {
		case 0:
			at = at >> 2 % 512
		case 1:
			at = vol.fat + at>>2%512
		case 2:
			at = vol.heap + at>>2%(32<<10)
		case 3:
			at = max(vol.rootOffset, vol.heap-2048) + at>>2%4096
		}
		out.bytes[at%int64(len(img))] = patches[4]
		out.bytes[(at+1)%int64(len(img))] = patches[5]
	}
	return out
}

// exercise reads everything, in bounded parts.
func exercise(t *testing.T, r io.ReaderAt, size int64) {
	fs, err := Open(r, size, "image")
	if err != nil {
		checkKind(t, err)
		return
	}
	if _, err := fs.Label(); err != nil {
		checkKind(t, err)
	}
	buf := make([]byte, 4096)
	nodes := 0
	checkKind(t, tree.Walk(t.Context(), rootOf(t, fs), func(_ string, n *tree.Node) error {
		if nodes++; nodes > 1<<16 {
			t.Fatal("the walk does not end")
		}
		if n.Type != tree.Regular {
			return nil
		}
		c, err := n.Open()
		if err != nil {
			checkKind(t, err)
			return nil
		}
		for _, off := range []int64{0, n.Size / 2, n.Size - 1} {
			if off < 0 {
				continue
			}
			if err := tree.ReadFull(c, buf[:min(int64(len(buf)), n.Size-off)], off); err != nil {
				checkKind(t, err)
			}
		}
		for off := int64(0); ; {
			start, end, err := c.NextData(off)
			if err == io.EOF {
				return nil
			}
			if err != nil || start < off || end <= start || end > n.Size {
				t.Fatalf("NextData(%d) = %d, %d, %v of %d", off, start, end, err, n.Size)
			}
			off = end
		}
	}))
}

// FuzzFAT changes bytes in images of FAT12, FAT16 and FAT32.
func FuzzFAT(f *testing.F) {
	var images []*forge
	for _, name := range []string{"fat12", "fat16", "fat32"} {
		images = append(images, newForge(f, name))
	}
	for i := range images {
		f.Add(uint8(i), []byte{})
		for k := range byte(16) {
			f.Add(uint8(i), []byte{4 * k, 0, 0, 0, k, 0xFF, 4*k + 1, 0, 0, 0, 0, k, 4*k + 2, k, 0, 0, 0x10, 0, 4*k + 3, k, 0, 0, 0, 0})
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, patches []byte) {
		img := images[int(which)%len(images)]
		exercise(t, patch(img.img, img.vol, patches), int64(len(img.img)))
	})
}

// FuzzExFAT changes bytes in an image of exFAT and sets the checksum of the boot
// region right again.
func FuzzExFAT(f *testing.F) {
	img := newForge(f, "exfat")
	f.Add([]byte{})
	for k := range byte(32) {
		f.Add([]byte{4 * k, 0, 0, 0, k, 0xFF, 4*k + 1, 0, 0, 0, 0, k, 4*k + 2, k, 0, 0, 0x85, 3})
	}
	f.Fuzz(func(t *testing.T, patches []byte) {
		p := patch(img.img, img.vol, patches)
		boot := make([]byte, 12<<12)
		if _, err := p.ReadAt(boot, 0); err != nil {
			t.Fatal(err)
		}
		if boot[xbSectorShift] <= 12 {
			sumBoot(boot)
			for i := range boot[:int64(12)<<boot[xbSectorShift]] {
				if boot[i] != img.img[i] {
					p.bytes[int64(i)] = boot[i]
				}
			}
		}
		exercise(t, p, int64(len(img.img)))
	})
}

// FuzzExSet returns entries with right checksums to a directory of exFAT.
func FuzzExSet(f *testing.F) {
	img := newForge(f, "exfat")
	root := img.vol.offset(img.vol.rootCluster)
	for _, name := range []string{"pieces", "LiveOS", "smile"} {
		f.Add(bytes.Clone(img.set(name)[:3*entrySize]))
	}
	f.Fuzz(func(t *testing.T, entries []byte) {
		if len(entries) > 1<<img.vol.clusterBits {
			return
		}
		entries = bytes.Clone(entries)
		for rest := entries; len(rest) >= entrySize; {
			n := entrySize
			if rest[0] == exFile {
				n *= int(rest[xfSecondaries]) + 1
				if n > len(rest) {
					break
				}
				sum(rest)
			}
			rest = rest[n:]
		}
		p := patched{img.img, map[int64]byte{}}
		for i, b := range entries {
			p.bytes[root+int64(i)] = b
		}
		exercise(t, p, int64(len(img.img)))
	})
}

// FuzzEntries returns any entries to the root of a FAT16.
func FuzzEntries(f *testing.F) {
	img := newForge(f, "fat16")
	f.Add(long([]uint16{'a', 0xD83D, 'b'}, short("SHORT   TXT", 0x20, 0)))
	f.Add(short("DIR        ", attrDirectory, 0x18))
	f.Fuzz(func(t *testing.T, entries []byte) {
		if len(entries) > img.vol.rootEntries*entrySize {
			return
		}
		p := patched{img.img, map[int64]byte{}}
		for i, b := range entries {
			p.bytes[img.vol.rootOffset+int64(i)] = b
		}
		exercise(t, p, int64(len(img.img)))
	})
}
