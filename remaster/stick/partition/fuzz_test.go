package partition

import (
	"bytes"
	"hash/crc32"
	"io"
	"testing"
)

func bytesReader(b []byte) io.ReaderAt { return bytes.NewReader(b) }

// sealAt sets the checksums of a header whose entries are given.
func sealAt(h, entries []byte) {
	le.PutUint32(h[ghEntriesCRC:], crc32.ChecksumIEEE(entries))
	clear(h[ghCRC:][:4])
	le.PutUint32(h[ghCRC:], crc32.ChecksumIEEE(h[:ghLen]))
}

// check is what holds for every table.
func check(t *testing.T, img []byte) {
	table, err := readBytes(img)
	checkKind(t, err)
	if err != nil {
		return
	}
	for _, p := range table.Partitions {
		if p.Err == nil && (p.Start < 0 || p.Size < 0 || p.Start >= int64(len(img))) {
			t.Fatalf("%+v of %d bytes", p, len(img))
		}
		checkKind(t, p.Err)
	}
	for _, err := range table.Problems {
		checkKind(t, err)
	}
}

// FuzzGPT changes headers and entries, with right checksums.
func FuzzGPT(f *testing.F) {
	img := gpt(f)
	f.Add([]byte{}, []byte{})
	f.Add(bytes.Clone(img[512+ghFirst:512+ghEntriesCRC]), bytes.Clone(img[1024:1024+2*geLen]))
	f.Fuzz(func(t *testing.T, header, entries []byte) {
		img := bytes.Clone(img)
		copy(img[512+ghFirst:512+ghEntriesCRC], header)
		copy(img[1024:][:128*geLen], entries)
		seal(img, 512)
		check(t, img)
		check(t, img[:len(img)/2])
	})
}

// FuzzMBR changes the boot records of logical partitions.
func FuzzMBR(f *testing.F) {
	img := logical(f)
	for _, at := range []int{0, 100, 200, 400} {
		f.Add(uint16(at), bytes.Clone(img[at*512+mbrEntries:][:64]))
	}
	f.Fuzz(func(t *testing.T, sector uint16, record []byte) {
		img := bytes.Clone(img)
		at := int(sector) % (len(img) / 512) * 512
		copy(img[at+mbrEntries:at+mbrMagic], record)
		check(t, img)
	})
}
