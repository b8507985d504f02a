package iso

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"relive/tree"
)

// TestRecipeKept: what a recipe says of volume and boot images is what is read of
// the image: every text at its full length, every date in its zone, every field of
// every entry of the catalogue, and the image's bytes where it points.
func TestRecipeKept(t *testing.T) {
	t.Parallel()
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 20))
		text := func(most int) string {
			n := []int{0, 1, most - 1, most, rng.IntN(most + 1)}[rng.IntN(5)]
			b := make([]byte, n)
			for i := range b {
				b[i] = "ABCXYZ019_ -.,"[rng.IntN(14)]
			}
			return strings.Trim(string(b), " ")
		}
		date := func() tree.Time {
			return tree.Time{Sec: rng.Int64N(130 * 366 * 86400), Nsec: uint32(rng.IntN(100)) * 10_000_000}
		}
		maybe := func() tree.Time {
			if rng.IntN(2) == 0 {
				return tree.Time{}
			}
			return date()
		}
		r := Recipe{
			VolumeID: text(32), SystemID: text(32), VolumeSetID: text(128), Publisher: text(128), Preparer: text(128),
			Application: text(128),
			Copyright:   text(37), Abstract: text(37), Bibliographic: text(37), Time: date(), Zone: int8(rng.IntN(101) - 48),
			Created: maybe(), Expires: maybe(), Effective: maybe(), NoJoliet: rng.IntN(3) == 0, CatalogID: text(24),
		}
		files := map[string][]byte{}
		var kids []*tree.Node
		var content [][]byte
		for i := range rng.IntN(8) {
			b := make([]byte, 1+[]int{511, 512, 2047, 2048, 2555, 2556, 5001, rng.IntN(9000)}[rng.IntN(8)])
			for k := range b {
				b[k] = byte(rng.Uint32())
			}
			img := BootImage{
				Platform: []uint8{PlatformBIOS, PlatformPowerPC, PlatformMac, PlatformEFI}[rng.IntN(4)], NotBootable: rng.IntN(4) == 0,
				Emulation: uint8(rng.IntN(5)), MediaFlags: []uint8{0, 0x40, 0x80, 0xC0}[rng.IntN(4)], LoadSegment: uint16(rng.Uint32()),
				SystemType: uint8(rng.Uint32()), SectorsNone: rng.IntN(4) == 0, SectorsAll: rng.IntN(3) == 0,
			}
			if rng.IntN(3) == 0 {
				img.Sectors = uint16(rng.IntN(1 << 16))
			}
			if i > 0 {
				img.Section = text(sectionChars)
			}
			if rng.IntN(3) == 0 {
				img.Hidden, img.Size = tree.Bytes(b), int64(len(b))
			} else {
				img.Path = fmt.Sprintf("boot%d", i)
				files[img.Path] = b
				kids = append(kids, tree.NewFile(img.Path, 0o644, b))
				img.BootInfo = len(b) > bootInfoEnd && rng.IntN(2) == 0
				img.Grub2Info = len(b) >= grub2InfoAt+8 && rng.IntN(2) == 0
			}
			r.Boot, content = append(r.Boot, img), append(content, b)
		}
		kids = append(kids, tree.NewFile("other", 0o644, []byte("other")))
		root := tree.NewDir("", 0o755, kids...)
		file, rep := writeImage(t, root, r)
		img := openFile(t, file)
		info := img.Info()
		zoned := func(at tree.Time) time.Time {
			return at.Time().In(time.FixedZone("", int(r.Zone)*15*60))
		}
		modified := zoned(r.Time)
		want := Info{
			ImageSize: rep.Size, BlockSize: sectorSize, Blocks: rep.Size / sectorSize, VolumeSize: rep.Size,
			VolumeID: r.VolumeID, SystemID: r.SystemID, VolumeSetID: r.VolumeSetID, Publisher: r.Publisher, Preparer: r.Preparer,
			Application: r.Application, Copyright: r.Copyright, Abstract: r.Abstract, Bibliographic: r.Bibliographic,
			Created: cmp.Or(r.Created, r.Time), Modified: r.Time, Expires: r.Expires, Effective: r.Effective,
			UUID:      modified.Format("2006-01-02-15-04-05-") + fmt.Sprintf("%02d", r.Time.Nsec/10_000_000),
			RockRidge: true, Extensions: info.Extensions, ElTorito: len(r.Boot) > 0, Names: info.Names,
		}
		if !r.NoJoliet {
			want.JolietLevel, want.JolietVolumeID = 3, strings.TrimRight(r.VolumeID[:min(16, len(r.VolumeID))], " ")
		}
		if !reflect.DeepEqual(info, want) {
			t.Errorf("seed %d\ngot  %+v\nwant %+v", seed, info, want)
		}
		c, err := img.ElTorito()
		if err != nil || (c == nil) != (len(r.Boot) == 0) {
			t.Fatalf("seed %d: %+v, %v", seed, c, err)
		}
		if c == nil {
			continue
		}
		if c.Record != 17 || c.ID != r.CatalogID || len(c.Entries) != len(r.Boot) {
			t.Fatalf("seed %d: %+v of %+v", seed, c, r)
		}
		for i, e := range c.Entries {
			b, data := r.Boot[i], bytes.Clone(content[i])
			got := make([]byte, len(data))
			if err := img.readAt(got, int64(e.Block)*sectorSize, "boot image"); err != nil {
				t.Fatal(err)
			}
			sectors := b.Sectors
			if sectors == 0 && !b.SectorsNone {
				sectors = 4
				if b.SectorsAll || b.Platform == PlatformEFI {
					sectors = uint16((len(data) + 511) / 512)
				}
			}
			want := BootEntry{
				Platform: b.Platform, Section: b.Section, Bootable: !b.NotBootable, Emulation: b.Emulation, MediaFlags: b.MediaFlags,
				LoadSegment: b.LoadSegment, SystemType: b.SystemType, Sectors: sectors, Block: e.Block, Grub2Info: b.Grub2Info,
				BootInfo: e.BootInfo,
			}
			if !reflect.DeepEqual(e, want) {
				t.Errorf("seed %d, entry %d\ngot  %+v\nwant %+v", seed, i, e, want)
			}
			if b.BootInfo && (e.BootInfo == nil || !e.BootInfo.Valid || e.BootInfo.Volume != 16 || int(e.BootInfo.Length) != len(data)) {
				t.Errorf("seed %d, entry %d: %+v", seed, i, e.BootInfo)
			}
			for _, p := range []struct {
				is       bool
				from, to int
			}{{b.BootInfo, bootInfoAt, bootInfoEnd}, {b.Grub2Info, grub2InfoAt, grub2InfoAt + 8}} {
				if p.is {
					copy(data[p.from:p.to], got[p.from:p.to])
				}
			}
			if !bytes.Equal(got, data) {
				t.Errorf("seed %d, entry %d: it points to other bytes", seed, i)
			}
		}
		for path, b := range files {
			n, err := rootOf(t, img).Lookup(path)
			if err != nil || n == nil || n.Size != int64(len(b)) {
				t.Errorf("seed %d: %s: %+v, %v", seed, path, n, err)
			}
		}
		if t.Failed() {
			break
		}
	}
}

// TestBootSectors: an image larger than the field can count is loaded up to the
// end of the medium.
func TestBootSectors(t *testing.T) {
	for size, want := range map[int64]uint16{1: 1, 512: 1, 513: 2, 65535 * 512: 65535, 65535*512 + 1: 0, 1 << 40: 0} {
		for _, b := range []BootImage{{Platform: PlatformEFI}, {SectorsAll: true}} {
			if got := b.sectors(size); got != want {
				t.Errorf("%d bytes: %d, want %d", size, got, want)
			}
		}
	}
}
