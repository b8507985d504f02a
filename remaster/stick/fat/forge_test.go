package fat

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf16"

	"relive/tree"
)

// forge is an image that a test breaks.
type forge struct {
	t   testing.TB
	img []byte
	vol volume
}

func newForge(t testing.TB, name string) *forge {
	img := fixture(t, name)
	fs, err := Open(bytes.NewReader(img), int64(len(img)), "image")
	if err != nil {
		t.Fatal(err)
	}
	return &forge{t, img, fs.vol}
}

// entry is the place of the n-th entry of any directory that holds these bytes
// from its at-th on.
func (f *forge) entry(at int, s string) []byte {
	f.t.Helper()
	start := f.vol.heap
	if f.vol.rootOffset != 0 {
		start = f.vol.rootOffset
	}
	for off := start; off+entrySize <= int64(len(f.img)); off += entrySize {
		if string(f.img[off+int64(at):][:len(s)]) == s {
			return f.img[off:]
		}
	}
	f.t.Fatalf("no entry %q", s)
	return nil
}

// set is the place of the entry set of an exFAT file whose name begins so.
func (f *forge) set(name string) []byte {
	f.t.Helper()
	var b []byte
	for _, u := range utf16.Encode([]rune(name)) {
		b = append(b, byte(u), byte(u>>8))
	}
	for off := f.vol.heap; off+entrySize <= int64(len(f.img)); off += entrySize {
		if f.img[off] == exPart && bytes.HasPrefix(f.img[off+2:], b) && f.img[off-2*entrySize] == exFile {
			return f.img[off-2*entrySize:]
		}
	}
	f.t.Fatalf("no file %q", name)
	return nil
}

// sum sets the checksum of an entry set.
func sum(set []byte) {
	var s entrySet
	for i, b := range set[:(int(set[xfSecondaries])+1)*entrySize] {
		if i != xfChecksum && i != xfChecksum+1 {
			s.add(b)
		}
	}
	le.PutUint16(set[xfChecksum:], s.sum)
}

// sumBoot sets the checksum of exFAT's boot region.
func sumBoot(img []byte) {
	shift := uint(img[xbSectorShift])
	var s uint32
	for i, b := range img[:exChecksumSector<<shift] {
		if i != xbFlags && i != xbFlags+1 && i != xbPercentInUse {
			s = s>>1 | s<<31
			s += uint32(b)
		}
	}
	for i := 0; i < 1<<shift; i += 4 {
		le.PutUint32(img[exChecksumSector<<shift+i:], s)
	}
}

// first is the first cluster of a FAT entry.
func first(e []byte) uint32 {
	return uint32(le.Uint16(e[deClusterHi:]))<<16 | uint32(le.Uint16(e[deClusterLo:]))
}

// next sets what follows a cluster, in the first table.
func (f *forge) next(cluster, value uint32) {
	at := f.img[f.vol.fat:]
	switch f.vol.kind {
	case FAT12:
		p := at[cluster+cluster/2:]
		v := le.Uint16(p)
		if cluster&1 == 0 {
			le.PutUint16(p, v&0xF000|uint16(value)&0xFFF)
		} else {
			le.PutUint16(p, v&0xF|uint16(value)<<4)
		}
	case FAT16:
		le.PutUint16(at[cluster*2:], uint16(value))
	default:
		le.PutUint32(at[cluster*4:], value)
	}
}

// readAll reads all of an image: its tree, content and label.
func readAll(t testing.TB, img []byte) (manifest string, err error) {
	fs, err := Open(bytes.NewReader(img), int64(len(img)), "image")
	if err != nil {
		return "", err
	}
	if _, err := fs.Label(); err != nil {
		return "", err
	}
	var out strings.Builder
	enc := json.NewEncoder(&out)
	err = tree.Manifest(t.Context(), rootOf(t, fs), tree.ManifestOptions{}, func(e tree.Entry) error { return enc.Encode(e) })
	return out.String(), err
}
