package fat

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"relive/tree"
)

// TestDamagedFAT breaks the rules of the format, one at a time.
func TestDamagedFAT(t *testing.T) {
	deeper := func(f *forge) []byte { return f.entry(0, "DEEPER     ") }
	live := func(f *forge) []byte { return f.entry(0, "LIVEOS     ") }
	numbers := func(f *forge) []byte { return f.entry(0, "NUMBERS ") }
	for _, c := range []struct {
		name string
		do   func(f *forge)
		kind error
		text string
	}{
		{"sector size", func(f *forge) { le.PutUint16(f.img[bsBytesPerSector:], 500) }, tree.ErrCorrupt, "sectors of 500 bytes"},
		{"cluster size", func(f *forge) { f.img[bsSectorsPerCluster] = 3 }, tree.ErrCorrupt, "3 sectors in a cluster"},
		{"no tables", func(f *forge) { f.img[bsFATs] = 0 }, tree.ErrCorrupt, "0 tables"},
		{"media", func(f *forge) { f.img[bsMedia] = 1 }, tree.ErrCorrupt, "media type 0x1"},
		{"many sectors", func(f *forge) {
			clear(f.img[bsSectors16:][:2])
			le.PutUint32(f.img[bsSectors32:], 1<<31)
		}, tree.ErrCorrupt, "the volume has only"},
		{"few sectors", func(f *forge) {
			clear(f.img[bsSectors16:][:2])
			le.PutUint32(f.img[bsSectors32:], 5)
		}, tree.ErrCorrupt, "tables and root take"},
		{"cut short", func(f *forge) { f.img = f.img[:f.vol.size-512] }, tree.ErrCorrupt, "the volume has only"},
		{"no volume", func(f *forge) { f.img = f.img[:100] }, tree.ErrCorrupt, "only 100 bytes"},

		{"chain ends early", func(f *forge) { f.next(first(numbers(f)), 0xFFFFFFFF) }, tree.ErrCorrupt, "ends after 1 of"},
		{"chain loops", func(f *forge) { c := first(numbers(f)); f.next(c+1, c) }, tree.ErrCorrupt, "loops"},
		{"chain to nowhere", func(f *forge) { f.next(first(numbers(f)), f.vol.clusters+2) }, tree.ErrCorrupt, "followed by cluster"},
		{"chain to a free cluster", func(f *forge) { f.next(first(numbers(f)), 0) }, tree.ErrCorrupt, "followed by cluster 0"},
		{"chain to a bad cluster", func(f *forge) { f.next(first(numbers(f)), 0xFFFFFF7) }, tree.ErrCorrupt, "followed by cluster"},
		{"first cluster", func(f *forge) { le.PutUint16(numbers(f)[deClusterLo:], 1) }, tree.ErrCorrupt, "from cluster 1 of"},
		{"huge file", func(f *forge) { le.PutUint32(numbers(f)[deSize:], 1<<32-1) }, tree.ErrCorrupt,
			"4294967295 bytes, which the volume has not"},
		{"directory is its parent", func(f *forge) { copy(deeper(f)[deClusterLo:], live(f)[deClusterLo:][:2]) }, tree.ErrCorrupt,
			"where another directory begins"},
		{"directory in the root", func(f *forge) { le.PutUint16(deeper(f)[deClusterLo:], 0) }, tree.ErrCorrupt, "begins in cluster 0"},
		{"directory loops", func(f *forge) { c := first(live(f)); fill(f, c); f.next(c, c) }, tree.ErrCorrupt,
			"its chain of clusters loops"},
		{"directory of files loops", func(f *forge) { c := first(deeper(f)); fill(f, c); f.next(c, c) }, tree.ErrCorrupt,
			"its chain of clusters loops"},
		{"slash", func(f *forge) { deeper(f)[0] = '/' }, tree.ErrCorrupt, `name "/eeper"`},
		{"no name", func(f *forge) { copy(deeper(f), "           ") }, tree.ErrCorrupt, `name ""`},
		{"same name", func(f *forge) { copy(f.entry(0, "GAP1    "), f.entry(0, "GAP3    ")[:11]) }, tree.ErrCorrupt, "stands there twice"},
	} {
		for _, image := range []string{"fat12", "fat16", "fat32"} {
			t.Run(c.name+" "+image, func(t *testing.T) {
				t.Parallel()
				f := newForge(t, image)
				if _, err := readAll(t, f.img); err != nil {
					t.Fatal(err)
				}
				c.do(f)
				_, err := readAll(t, f.img)
				if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) || !strings.HasPrefix(err.Error(), "image: ") &&
					!strings.Contains(err.Error(), ": image: ") {
					t.Errorf("%v", err)
				}
			})
		}
	}
}

// fill makes a cluster of entries that are not in use, so that it has no end.
func fill(f *forge, cluster uint32) {
	p := f.img[f.vol.offset(cluster):][:1<<f.vol.clusterBits]
	for i := 0; i < len(p); i += entrySize {
		if p[i] == 0 {
			p[i] = deFree
		}
	}
}

// TestDamagedFAT32 breaks what only FAT32 has.
func TestDamagedFAT32(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(f *forge)
		kind error
		text string
	}{
		{"root cluster", func(f *forge) { le.PutUint32(f.img[bsRootCluster:], 1<<31) }, tree.ErrCorrupt, "root begins in cluster"},
		{"version", func(f *forge) { f.img[bsVersion] = 1 }, tree.ErrUnsupported, "version 0x1"},
		{"active table", func(f *forge) { f.img[bsExtFlags] = 0x82 }, tree.ErrCorrupt, "table 2 of 2"},
		{"fixed root", func(f *forge) { f.img[bsRootEntries] = 16 }, tree.ErrCorrupt, "do not go together"},
		{"huge tables", func(f *forge) { le.PutUint32(f.img[bsFATSectors32:], 1<<31) }, tree.ErrCorrupt, "tables and root take"},
		{"root loops", func(f *forge) { fill(f, 2); f.next(f.vol.rootCluster, f.vol.rootCluster) }, tree.ErrCorrupt,
			"its chain of clusters loops"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newForge(t, "fat32")
			c.do(f)
			_, err := readAll(t, f.img)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestDamagedExFAT breaks the rules of exFAT, with checksums that are right where
// it is not the checksum that is broken.
func TestDamagedExFAT(t *testing.T) {
	boot := func(do func(b []byte)) func(f *forge) {
		return func(f *forge) { do(f.img); sumBoot(f.img) }
	}
	set := func(name string, do func(f *forge, s []byte)) func(f *forge) {
		return func(f *forge) { s := f.set(name); do(f, s); sum(s) }
	}
	stream := func(s []byte) []byte { return s[entrySize:] }
	for _, c := range []struct {
		name string
		do   func(f *forge)
		kind error
		text string
	}{
		{"boot checksum", func(f *forge) { f.img[200]++ }, tree.ErrCorrupt, "boot region: checksum"},
		{"revision", boot(func(b []byte) { b[xbRevision+1] = 2 }), tree.ErrUnsupported, "revision 2.00"},
		{"sector size", boot(func(b []byte) { b[xbSectorShift] = 13 }), tree.ErrCorrupt, "sectors of 2^13"},
		{"cluster size", boot(func(b []byte) { b[xbClusterShift] = 200 }), tree.ErrCorrupt, "clusters of 2^200"},
		{"parameters of FAT", boot(func(b []byte) { b[12] = 2 }), tree.ErrCorrupt, "where exFAT has zeros"},
		{"volume", boot(func(b []byte) { le.PutUint64(b[xbVolumeLength:], 1<<60) }), tree.ErrCorrupt, "the volume has only"},
		{"clusters", boot(func(b []byte) { le.PutUint32(b[xbClusterCount:], 1<<31) }), tree.ErrCorrupt, "clusters of 2^"},
		{"heap", boot(func(b []byte) { le.PutUint32(b[xbHeapOffset:], 1<<31) }), tree.ErrCorrupt, "from sector 2147483648"},
		{"tables", boot(func(b []byte) { le.PutUint32(b[xbFATLength:], 1) }), tree.ErrCorrupt, "tables of 1 sectors"},
		{"tables below the boot region", boot(func(b []byte) { le.PutUint32(b[xbFATOffset:], 1) }), tree.ErrCorrupt, "tables at sector 1"},
		{"number of tables", boot(func(b []byte) { b[xbFATs] = 3 }), tree.ErrCorrupt, "3 tables"},
		{"active table", boot(func(b []byte) { b[xbFlags] |= 1 }), tree.ErrCorrupt, "there is only one"},
		{"root", boot(func(b []byte) { le.PutUint32(b[xbRootCluster:], 1) }), tree.ErrCorrupt, "root begins in cluster 1"},

		{"set checksum", func(f *forge) { f.set("pieces")[xfModified]++ }, tree.ErrCorrupt, "checksum is"},
		{"few entries", set("pieces", func(_ *forge, s []byte) { s[xfSecondaries] = 1 }), tree.ErrCorrupt, "a file of 1 more"},
		{"many entries", set("pieces", func(_ *forge, s []byte) { s[xfSecondaries] = 3 }), tree.ErrCorrupt,
			"more entries belong to the file"},
		{"no stream", set("pieces", func(_ *forge, s []byte) { stream(s)[0] = exPart }), tree.ErrCorrupt, "0 streams"},
		{"unknown entry", set("pieces", func(_ *forge, s []byte) { stream(s)[0] = 0xC5 }), tree.ErrCorrupt, "unknown type 0xc5"},
		{"name length", set("pieces", func(_ *forge, s []byte) { stream(s)[xsNameLength] = 16 }), tree.ErrCorrupt,
			"a name of 16 characters in 15"},
		{"empty name", set("pieces", func(_ *forge, s []byte) { stream(s)[xsNameLength] = 0 }), tree.ErrCorrupt, "a name of 0"},
		{"slash", set("pieces", func(_ *forge, s []byte) { s[2*entrySize+2] = '/' }), tree.ErrCorrupt, `"/ieces"`},
		{"valid length", set("pieces", func(_ *forge, s []byte) { le.PutUint64(stream(s)[xsValid:], 1<<40) }), tree.ErrCorrupt,
			"are valid"},
		{"huge", set("pieces", func(_ *forge, s []byte) { le.PutUint64(stream(s)[xsLength:], 1<<61) }), tree.ErrCorrupt,
			"which the volume has not"},
		{"larger than any", set("pieces", func(_ *forge, s []byte) { le.PutUint64(stream(s)[xsLength:], 1<<63) }), tree.ErrCorrupt,
			"9223372036854775808 bytes"},
		{"nothing allocated", set("pieces", func(_ *forge, s []byte) { stream(s)[xsFlags] = 0 }), tree.ErrCorrupt, "nothing is allocated"},
		{"first cluster", set("pieces", func(_ *forge, s []byte) { le.PutUint32(stream(s)[xsFirst:], 1<<30) }), tree.ErrCorrupt,
			"from cluster 1073741824"},
		{"chain ends early", set("pieces", func(f *forge, s []byte) { f.next(le.Uint32(stream(s)[xsFirst:]), 0xFFFFFFFF) }),
			tree.ErrCorrupt, "ends after 1 of"},
		{"chain loops", set("pieces", func(f *forge, s []byte) { c := le.Uint32(stream(s)[xsFirst:]); f.next(c, c) }), tree.ErrCorrupt,
			"loops"},
		{"straight past the end", set("pieces", func(f *forge, s []byte) {
			stream(s)[xsFlags] |= xsNoChain
			le.PutUint32(stream(s)[xsFirst:], f.vol.clusters)
		}), tree.ErrCorrupt, "clusters from cluster"},
		{"directory's size", set("LiveOS", func(_ *forge, s []byte) { le.PutUint64(stream(s)[xsLength:], 1<<30) }), tree.ErrCorrupt,
			"a directory of 1073741824 bytes"},
		{"directory in the root", set("LiveOS", func(f *forge, s []byte) { le.PutUint32(stream(s)[xsFirst:], f.vol.rootCluster) }),
			tree.ErrCorrupt, "where another directory begins"},
		{"directory twice", set("deeper", func(f *forge, s []byte) {
			copy(stream(s)[xsFirst:], f.set("LiveOS")[entrySize+xsFirst:][:4])
		}), tree.ErrCorrupt, "where another directory begins"},
		{"end inside of a set", func(f *forge) { f.set("pieces")[2*entrySize] = 0 }, tree.ErrCorrupt, "more entries belong to the file"},
		{"same name", set("gap1", func(f *forge, s []byte) { copy(s[2*entrySize:], f.set("gap3")[2*entrySize:][:entrySize]) }),
			tree.ErrCorrupt, "stands there twice"},
		{"root loops", func(f *forge) {
			fillEx(f, f.vol.rootCluster)
			f.next(f.vol.rootCluster, f.vol.rootCluster)
		}, tree.ErrCorrupt, "loops"},
		{"cut short", func(f *forge) { f.img = f.img[:len(f.img)-4096] }, tree.ErrCorrupt, "the volume has only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newForge(t, "exfat")
			if _, err := readAll(t, f.img); err != nil {
				t.Fatal(err)
			}
			c.do(f)
			_, err := readAll(t, f.img)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v", err)
			}
		})
	}
}

// fillEx makes a cluster of entries that are not in use.
func fillEx(f *forge, cluster uint32) {
	p := f.img[f.vol.offset(cluster):][:1<<f.vol.clusterBits]
	for i := 0; i < len(p); i += entrySize {
		p[i] = 0x05
	}
}

// TestEveryLength cuts images short everywhere: an error each time, and no panic.
func TestEveryLength(t *testing.T) {
	for _, name := range []string{"fat12", "exfat"} {
		f := newForge(t, name)
		for n := int64(0); n < f.vol.size; n += 1777 {
			fs, err := Open(bytes.NewReader(f.img[:n]), n, "image")
			if err == nil {
				t.Fatalf("%s: %d bytes: %v", name, n, fs)
			}
			checkKind(t, err)
		}
	}
}

// failing is a device whose bytes from a place on cannot be read.
type failing struct {
	io.ReaderAt
	from int64
}

var errDevice = errors.New("the device fails")

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.from {
		return 0, errDevice
	}
	return f.ReaderAt.ReadAt(p, off)
}

// TestDeviceErrors: what the device says is handed on, wherever it fails, and is
// not taken for a broken file system.
func TestDeviceErrors(t *testing.T) {
	for _, name := range []string{"fat12", "fat16", "fat32", "exfat"} {
		f := newForge(t, name)
		last := f.vol.heap + 64<<10
		for from := int64(0); from < last; from += 1999 {
			fs, err := Open(failing{bytes.NewReader(f.img), from}, int64(len(f.img)), "image")
			if err == nil {
				err = tree.Walk(t.Context(), rootOf(t, fs), func(_ string, n *tree.Node) error {
					if n.Type == tree.Regular {
						_, err := tree.ReadAll(n, 1<<30)
						return err
					}
					return nil
				})
			}
			if err != nil && !errors.Is(err, errDevice) || err == nil && from < f.vol.heap {
				t.Fatalf("%s: from %d: %v", name, from, err)
			}
		}
	}
}
