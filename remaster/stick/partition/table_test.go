package partition

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// TestSfdisk reads random tables that sfdisk wrote, and compares with what sfdisk
// reads of them.
func TestSfdisk(t *testing.T) {
	systest.NeedTools(t, "sfdisk")
	types := map[string][]string{"dos": {"83", "c", "ef", "17", "7", "82"}, "gpt": {
		"C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "0FC63DAF-8483-4772-8E79-3D69D8477DE4", "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"}}
	for seed := range uint64(24) {
		label := []string{"dos", "gpt"}[seed%2]
		t.Run(fmt.Sprint(label, seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 9))
			path := systest.Blank(t, 80<<20)
			var script strings.Builder
			fmt.Fprintf(&script, "label: %s\n", label)
			n, logical := 1+r.IntN(4), 0
			if label == "gpt" {
				n = r.IntN(20)
			} else if r.IntN(2) == 0 {
				logical = r.IntN(9)
			}
			for i := range n {
				kind := types[label][r.IntN(len(types[label]))]
				fmt.Fprintf(&script, "size=%d, type=%s", 2048*(1+r.IntN(2)), kind)
				if label == "gpt" {
					fmt.Fprintf(&script, ", name=\"name %d größer\"", i)
				} else if i == 0 {
					script.WriteString(", bootable")
				}
				script.WriteByte('\n')
				if i == n-2 && logical > 0 {
					break
				}
			}
			if logical > 0 {
				script.WriteString("type=5\n")
			}
			for range logical {
				fmt.Fprintf(&script, "size=%d, type=%s\n", 2048*(1+r.IntN(2)), types["dos"][r.IntN(6)])
			}
			systest.Feed(t, script.String(), "sfdisk", "-q", path)
			table, err := read(t, path, 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(table.Problems) != 0 || table.Backup {
				t.Error(table.Problems)
			}
			compare(t, path, table)
		})
	}
}

// TestSgdisk reads a GPT that sgdisk wrote, its backup, and one of sectors of 4096
// bytes.
func TestSgdisk(t *testing.T) {
	systest.NeedTools(t, "sgdisk", "sfdisk", "parted")
	path := systest.Blank(t, 80<<20)
	systest.Run(t, "sgdisk", "-n", "3:2048:+10M", "-t", "3:ef00", "-c", "3:EFI Boot 😀", "-A", "3:set:2", "-n", "128:0:0", path)
	table, err := read(t, path, 0)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, path, table)
	if p := table.Partitions; len(p) != 2 || !p[0].Boot || p[0].Number != 3 || p[1].Number != 128 {
		t.Errorf("%+v", p)
	}
	damage := func(off int64) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte("damage"), off); err != nil {
			t.Fatal(err)
		}
	}
	for _, off := range []int64{2*512 + 2*128 + 60, 512 + 40, 512} {
		damage(off)
		again, err := read(t, path, 0)
		if err != nil || !again.Backup || len(again.Problems) != 1 || !errors.Is(again.Problems[0], tree.ErrCorrupt) {
			t.Fatal(off, again, err)
		}
		if fmt.Sprint(again.Partitions) != fmt.Sprint(table.Partitions) || again.ID != table.ID {
			t.Errorf("%+v", again)
		}
	}
	damage(80<<20 - 512)
	if _, err := read(t, path, 0); !errors.Is(err, tree.ErrCorrupt) || !strings.Contains(err.Error(), "primary GPT") {
		t.Error(err)
	}

	large := systest.Blank(t, 80<<20)
	systest.Run(t, "parted", "-s", large, "mklabel", "msdos", "mkpart", "primary", "fat32", "1MiB", "20MiB",
		"mkpart", "extended", "20MiB", "100%", "mkpart", "logical", "ext2", "21MiB", "30MiB", "mkpart", "logical", "ext2", "31MiB", "100%")
	if table, err = read(t, large, 0); err != nil {
		t.Fatal(err)
	}
	compare(t, large, table)
	if p := table.Partitions; len(p) != 4 || !p[1].Extended || p[0].Extended {
		t.Errorf("%+v", p)
	}
}

// TestSectors4096: the size of a sector is found where the device does not tell.
func TestSectors4096(t *testing.T) {
	small := gpt(t)
	img := make([]byte, 8*len(small))
	// The same table, in sectors eight times as large.
	copy(img, small[:512])
	for s := range len(small) / 512 {
		if s >= 1 {
			copy(img[s*4096:], small[s*512:(s+1)*512])
		}
	}
	for _, at := range []int{1, len(small)/512 - 1} {
		h := img[at*4096:]
		start := int(le.Uint64(h[ghEntries:])) * 4096
		entries := make([]byte, 128*geLen)
		copy(entries, small[2*512:][:len(entries)])
		copy(img[start:], entries)
		sealAt(h, entries)
	}
	for _, sector := range []int{0, 4096} {
		table, err := Read(bytesReader(img), int64(len(img)), sector, "img")
		if err != nil || table.SectorSize != 4096 || len(table.Partitions) != 2 || table.Partitions[0].Start != 64*4096 || table.Backup {
			t.Errorf("%+v, %v", table, err)
		}
	}
	if _, err := Read(bytesReader(img), int64(len(img)), 512, "img"); !errors.Is(err, tree.ErrCorrupt) {
		t.Error(err)
	}
}

// TestNoTable: what is none is none.
func TestNoTable(t *testing.T) {
	boot := make([]byte, 4096)
	le.PutUint16(boot[mbrMagic:], bootMagic)
	sector := append([]byte{}, boot...)
	copy(sector[mbrEntries:], "text of a boot sector, with flags that are none")
	for name, img := range map[string][]byte{
		"empty": {}, "short": make([]byte, 100), "zeros": make([]byte, 4096), "mark alone": boot, "boot sector": sector,
	} {
		if table, err := readBytes(img); err != nil || table.Kind != None || len(table.Partitions) != 0 {
			t.Errorf("%s: %+v, %v", name, table, err)
		}
	}
}

// TestDamagedGPT: the backup counts where the primary is damaged, and says so.
func TestDamagedGPT(t *testing.T) {
	header := func(img []byte) []byte { return img[512:] }
	for _, c := range []struct {
		name string
		do   func(img []byte)
		text string
	}{
		{"magic", func(img []byte) { header(img)[0]++ }, "there is none in sector 1"},
		{"header checksum", func(img []byte) { header(img)[ghDiskID]++ }, "checksum of the header"},
		{"entries checksum", func(img []byte) { img[1024+geName]++ }, "checksum of the entries"},
		{"header size", func(img []byte) { le.PutUint32(header(img)[ghSize:], 1<<31) }, "a header of 2147483648 bytes"},
		{"small header", func(img []byte) { le.PutUint32(header(img)[ghSize:], 20) }, "a header of 20 bytes"},
		{"place", func(img []byte) { header(img)[ghThis] = 2; seal(img, 512) }, "is made for sector 2"},
		{"entry size", func(img []byte) { le.PutUint32(header(img)[ghEntrySize:], 0); seal(img, 512) }, "entries of 0 bytes"},
		{"odd entry size", func(img []byte) { le.PutUint32(header(img)[ghEntrySize:], 200); seal(img, 512) }, "entries of 200 bytes"},
		{"large entries", func(img []byte) { le.PutUint32(header(img)[ghEntrySize:], 1<<31); seal(img, 512) },
			"entries of 2147483648 bytes"},
		{"many entries", func(img []byte) { le.PutUint32(header(img)[ghCount:], 1<<32-1); seal(img, 512) }, "4294967295 entries"},
		{"entries past the end", func(img []byte) { le.PutUint64(header(img)[ghEntries:], 2040); seal(img, 512) }, "from sector 2040"},
		{"entries far away", func(img []byte) { le.PutUint64(header(img)[ghEntries:], 1<<62); seal(img, 512) },
			"from sector 4611686018427387904"},
		{"entries over the header", func(img []byte) { le.PutUint64(header(img)[ghEntries:], 1); seal(img, 512) }, "from sector 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			img := gpt(t)
			want, err := readBytes(img)
			if err != nil || want.Backup || len(want.Partitions) != 2 {
				t.Fatal(want, err)
			}
			c.do(img)
			got, err := readBytes(img)
			if err != nil || !got.Backup || fmt.Sprint(got.Partitions) != fmt.Sprint(want.Partitions) {
				t.Fatalf("%+v, %v", got, err)
			}
			if len(got.Problems) != 1 || !errors.Is(got.Problems[0], tree.ErrCorrupt) || !strings.Contains(got.Problems[0].Error(),
				c.text) {
				t.Error(got.Problems)
			}
			clear(img[len(img)-512:])
			if _, err := readBytes(img); !errors.Is(err, tree.ErrCorrupt) || !strings.Contains(err.Error(), c.text) {
				t.Error(err)
			}
		})
	}
}

// TestGPTPartitions: one bad partition does not hide the others.
func TestGPTPartitions(t *testing.T) {
	for _, c := range []struct {
		name        string
		first, last uint64
		text        string // of the error, or of the problem where it stays readable
		problem     bool
	}{
		{"backwards", 100, 99, "from sector 100 to sector 99", false},
		{"no end", 100, 1<<64 - 1, "from sector 100", false},
		{"overflow", 1 << 60, 1<<61 - 1, "1152921504606846976", false},
		{"past the disk", 4000, 5000, "begins at 2048000", false},
		{"ends past the disk", 64, 5000, "ends at 2560512", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			img := gpt(t)
			le.PutUint64(img[1024+geFirst:], c.first)
			le.PutUint64(img[1024+geLast:], c.last)
			seal(img, 512)
			got, err := readBytes(img)
			if err != nil || len(got.Partitions) != 2 || got.Backup {
				t.Fatal(got, err)
			}
			said := got.Partitions[0].Err
			if c.problem {
				if said != nil || len(got.Problems) != 1 {
					t.Fatal(said, got.Problems)
				}
				said = got.Problems[0]
			}
			if !errors.Is(said, tree.ErrCorrupt) || !strings.Contains(said.Error(), "partition 1: ") ||
				!strings.Contains(said.Error(), c.text) {
				t.Error(said)
			}
			if p := got.Partitions[1]; p.Err != nil || p.Start != 1024*512 || p.Size != 976*512 || p.Name != "b" {
				t.Errorf("%+v", p)
			}
		})
	}
}

// TestHybridMBR: whether the GPT counts is up to the MBR, as it is for Linux.
func TestHybridMBR(t *testing.T) {
	img := gpt(t)
	e := img[mbrEntries+mbrEntryLen:]
	e[meType] = 0xEF
	le.PutUint32(e[meStart:], 64)
	le.PutUint32(e[meCount:], 100)
	if got, err := readBytes(img); err != nil || got.Kind != GPT || len(got.Partitions) != 2 {
		t.Error(got, err)
	}
	// Both copies of the GPT gone: what the MBR has beside it is left.
	broken := append([]byte{}, img...)
	clear(broken[512:1024])
	clear(broken[len(broken)-512:])
	got, err := readBytes(broken)
	if err != nil || got.Kind != MBR || len(got.Partitions) != 1 || got.Partitions[0].Number != 2 || len(got.Problems) != 1 {
		t.Error(got, err)
	}
	// No entry for the GPT: the MBR counts, whatever lies behind it.
	img[mbrEntries+meType] = 0x17
	if got, err := readBytes(img); err != nil || got.Kind != MBR || len(got.Partitions) != 2 || got.Partitions[0].Type != "0x17" {
		t.Error(got, err)
	}
}

// logical is an image whose extended partition holds three logical ones.
func logical(t testing.TB) []byte {
	img := make([]byte, 2000*512)
	put := func(sector, slot int, kind byte, start, count uint32) {
		le.PutUint16(img[sector*512+mbrMagic:], bootMagic)
		e := img[sector*512+mbrEntries+slot*mbrEntryLen:]
		e[meType] = kind
		le.PutUint32(e[meStart:], start)
		le.PutUint32(e[meCount:], count)
	}
	put(0, 0, 0x0C, 10, 90)
	put(0, 1, 0x0F, 100, 1000)
	put(100, 0, 0x83, 2, 50)
	put(100, 1, 0x05, 100, 60)
	put(200, 0, 0x83, 2, 50)
	put(200, 1, 0x05, 300, 60)
	put(400, 0, 0x83, 2, 50)
	return img
}

// TestLogical: chains of boot records end, whatever they say.
func TestLogical(t *testing.T) {
	next := func(img []byte, sector int) []byte { return img[sector*512+mbrEntries+mbrEntryLen:] }
	for _, c := range []struct {
		name   string
		do     func(img []byte)
		starts []int64
		text   string
	}{
		{"whole", func([]byte) {}, []int64{10, 100, 102, 202, 402}, ""},
		{"loop", func(img []byte) {
			le.PutUint32(next(img, 400)[meStart:], 100)
			next(img, 400)[meType] = 5
			next(img, 400)[meCount] = 1
		}, []int64{10, 100, 102, 202, 402}, "comes back"},
		{"itself", func(img []byte) { le.PutUint32(next(img, 100)[meStart:], 0) }, []int64{10, 100, 102}, "comes back"},
		{"outside", func(img []byte) { le.PutUint32(next(img, 200)[meStart:], 1000) }, []int64{10, 100, 102, 202},
			"1000 sectors into an extended partition of 1000"},
		{"no mark", func(img []byte) { clear(img[400*512+mbrMagic:][:2]) }, []int64{10, 100, 102, 202}, "sector 400: it is none"},
		{"empty", func(img []byte) { clear(img[100*512+mbrEntries:][:64]) }, []int64{10, 100}, ""},
		{"past the disk", func(img []byte) {
			le.PutUint32(img[mbrEntries+mbrEntryLen+meCount:], 1<<30)
			le.PutUint32(next(img, 200)[meStart:], 1<<29)
		}, []int64{10, 100, 102, 202}, "the disk has only 2000 sectors"},
		{"garbage in the third entry", func(img []byte) {
			e := img[100*512+mbrEntries+2*mbrEntryLen:]
			e[meType] = 0x83
			le.PutUint32(e[meStart:], 1<<30)
			le.PutUint32(e[meCount:], 9)
		}, []int64{10, 100, 102, 202, 402}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			img := logical(t)
			c.do(img)
			table, err := readBytes(img)
			if err != nil {
				t.Fatal(err)
			}
			var starts []int64
			for _, p := range table.Partitions {
				starts = append(starts, p.Start/512)
			}
			if fmt.Sprint(starts) != fmt.Sprint(c.starts) {
				t.Errorf("%v, want %v", starts, c.starts)
			}
			said := errors.Join(table.Problems...)
			if (said == nil) != (c.text == "") || said != nil && !strings.Contains(said.Error(), c.text) {
				t.Error(said)
			}
		})
	}
}

// TestLongChain: a chain that never comes back ends at its bound.
func TestLongChain(t *testing.T) {
	img := make([]byte, 1000*512)
	put := func(sector int, slot int, kind byte, start, count uint32) {
		le.PutUint16(img[sector*512+mbrMagic:], bootMagic)
		e := img[sector*512+mbrEntries+slot*mbrEntryLen:]
		e[meType] = kind
		le.PutUint32(e[meStart:], start)
		le.PutUint32(e[meCount:], count)
	}
	put(0, 0, 5, 1, 998)
	for i := 1; i < 900; i++ {
		put(i, 0, 0x83, 1, 1)
		put(i, 1, 5, uint32(i), 1)
	}
	table, err := readBytes(img)
	if err != nil || len(table.Partitions) != 1+maxLogical || len(table.Problems) != 1 {
		t.Error(len(table.Partitions), table.Problems, err)
	}
}

// endless is a disk of zeros behind what img has.
type endless []byte

func (e endless) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(e)) {
		copy(p, e[off:])
	}
	return len(p), nil
}

// TestManyEntries: the count is bounded, however large the disk is.
func TestManyEntries(t *testing.T) {
	img := gpt(t)[:512*34]
	h := img[512:]
	le.PutUint32(h[ghCount:], maxEntries/geLen+1)
	sealAt(h, make([]byte, maxEntries+geLen))
	if _, err := Read(endless(img), 1<<40, 512, "img"); !errors.Is(err, tree.ErrCorrupt) ||
		!strings.Contains(err.Error(), "32769 entries") {
		t.Error(err)
	}
	le.PutUint32(h[ghCount:], maxEntries/geLen)
	entries := make([]byte, maxEntries)
	copy(entries, img[1024:])
	sealAt(h, entries)
	if table, err := Read(endless(img), 1<<40, 512, "img"); err != nil || len(table.Partitions) != 2 {
		t.Error(table, err)
	}
}
