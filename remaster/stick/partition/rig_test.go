package partition

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

var le = binary.LittleEndian

// Fields of the header (UEFI 2.10, table 5-5).
const (
	ghSize       = 12
	ghCRC        = 16
	ghThis       = 24
	ghOther      = 32
	ghFirst      = 40
	ghLast       = 48
	ghDiskID     = 56
	ghEntries    = 72
	ghCount      = 80
	ghEntrySize  = 84
	ghEntriesCRC = 88
	ghLen        = 92

	gptMagic = "EFI PART"
)

// Fields of an entry (table 5-6).
const (
	geType       = 0
	geID         = 16
	geFirst      = 32
	geLast       = 40
	geAttributes = 48
	geName       = 56
	geNameUnits  = 36
	geLen        = 128
)

// Fields of an MBR and of the boot records of logical partitions.
const (
	mbrEntries  = 446
	mbrMagic    = 510
	mbrEntryLen = 16

	meBoot  = 0
	meType  = 4
	meStart = 8
	meCount = 12

	bootMagic = 0xAA55
	bootFlag  = 0x80

	typeProtective = 0xEE
)

func read(t testing.TB, path string, sector int) (*Table, error) {
	t.Helper()
	f, size := systest.OpenFile(t, path)
	return Read(f, size, sector, "img")
}

// dump is what sfdisk -J tells.
type dump struct {
	Table struct {
		Label, ID  string
		SectorSize int64
		Partitions []struct {
			Node        string
			Start, Size int64
			Type        string
			UUID, Name  string
			Bootable    bool
		}
	} `json:"partitiontable"`
}

// compare holds a table against sfdisk's reading of the same image.
func compare(t *testing.T, path string, got *Table) {
	t.Helper()
	var d dump
	if err := json.Unmarshal([]byte(systest.Output(t, "sfdisk", "-J", path)), &d); err != nil {
		t.Fatal(err)
	}
	want := d.Table
	if want.Label != string(got.Kind) || !strings.EqualFold(strings.TrimPrefix(want.ID, "0x"), got.ID) ||
		len(want.Partitions) != len(got.Partitions) {
		t.Errorf("%s %s with %d partitions, sfdisk has %s %s with %d", got.Kind, got.ID, len(got.Partitions), want.Label, want.ID,
			len(want.Partitions))
		return
	}
	for i, w := range want.Partitions {
		g := got.Partitions[i]
		if suffix := strings.TrimPrefix(w.Node, path); g.Err != nil || suffix != itoa(g.Number) || g.Start != w.Start*got.SectorSize ||
			g.Size != w.Size*got.SectorSize || g.Name != w.Name || !strings.EqualFold(strings.TrimPrefix(g.Type, "0x"), w.Type) ||
			g.Boot != w.Bootable && got.Kind == MBR || got.Kind == GPT && !strings.EqualFold(g.UUID, w.UUID) {
			t.Errorf("%+v\nsfdisk has %+v", g, w)
		}
	}
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

// gpt is an image of one MiB with two partitions, and where its parts are.
func gpt(t testing.TB) []byte {
	t.Helper()
	const sectors = 2048
	img := make([]byte, sectors*512)
	mbr := img[mbrEntries:]
	mbr[meType] = typeProtective
	le.PutUint32(mbr[meStart:], 1)
	le.PutUint32(mbr[meCount:], sectors-1)
	le.PutUint16(img[mbrMagic:], bootMagic)
	entries := make([]byte, 128*geLen)
	for i, p := range []struct{ first, last uint64 }{{64, 1023}, {1024, 1999}} {
		e := entries[i*geLen:]
		e[geType], e[geID] = 1, byte(i+1)
		le.PutUint64(e[geFirst:], p.first)
		le.PutUint64(e[geLast:], p.last)
		e[geName] = 'a' + byte(i)
	}
	for _, h := range []struct{ this, other, entries uint64 }{{1, sectors - 1, 2}, {sectors - 1, 1, sectors - 33}} {
		copy(img[h.entries*512:], entries)
		b := img[h.this*512:]
		copy(b, gptMagic)
		le.PutUint32(b[8:], 0x10000)
		le.PutUint32(b[ghSize:], ghLen)
		le.PutUint64(b[ghThis:], h.this)
		le.PutUint64(b[ghOther:], h.other)
		le.PutUint64(b[ghFirst:], 34)
		le.PutUint64(b[ghLast:], sectors-34)
		le.PutUint64(b[ghEntries:], h.entries)
		le.PutUint32(b[ghCount:], 128)
		le.PutUint32(b[ghEntrySize:], geLen)
	}
	seal(img, 512)
	seal(img, (sectors-1)*512)
	return img
}

// seal sets the checksums of a header and its entries.
func seal(img []byte, at int) {
	b := img[at:]
	start, n := le.Uint64(b[ghEntries:])*512, uint64(le.Uint32(b[ghCount:]))*uint64(le.Uint32(b[ghEntrySize:]))
	if start < uint64(len(img)) && n <= uint64(len(img))-start {
		le.PutUint32(b[ghEntriesCRC:], crc32.ChecksumIEEE(img[start:start+n]))
	}
	clear(b[ghCRC:][:4])
	if size := int(le.Uint32(b[ghSize:])); size <= 512 {
		le.PutUint32(b[ghCRC:], crc32.ChecksumIEEE(b[:size]))
	}
}

func readBytes(img []byte) (*Table, error) {
	return Read(bytes.NewReader(img), int64(len(img)), 0, "img")
}

func checkKind(t testing.TB, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, tree.ErrCorrupt) {
		t.Fatal(err)
	}
}
