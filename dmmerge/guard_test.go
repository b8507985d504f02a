package dmmerge

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
)

// superblock is what CheckBase looks at, as e2fsprogs shows it.
type superblock struct {
	uuid   [16]byte
	blocks uint64
	log    uint32
	wide   bool // the upper half of blocks counts
}

// encode places the fields by Documentation/filesystems/ext4/super.rst, in the
// first sector at byte 1024.
func (s superblock) encode(size int) []byte {
	b := make([]byte, size)
	le := binary.LittleEndian
	sb := b[1024:]
	le.PutUint32(sb[0x4:], uint32(s.blocks))
	le.PutUint32(sb[0x18:], s.log)
	le.PutUint16(sb[0x38:], 0xEF53)
	if s.wide {
		le.PutUint32(sb[0x60:], 0x80)
	}
	copy(sb[0x68:], s.uuid[:])
	le.PutUint32(sb[0x150:], uint32(s.blocks>>32))
	return b
}

func (s superblock) id() string {
	h := hex.EncodeToString(s.uuid[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func (s superblock) size() string {
	if !s.wide {
		s.blocks &= 1<<32 - 1
	}
	return fmt.Sprintf("%d blocks of 2^%d KiB", s.blocks, s.log)
}

// TestCheckBaseSays: a COW is of an origin that has the same UUID and size, and
// what differs is told as the tools write it. Each field counts, and no other.
func TestCheckBaseSays(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 50))
		mine := superblock{blocks: r.Uint64(), log: r.Uint32N(7), wide: r.IntN(2) == 0}
		for i := range mine.uuid {
			mine.uuid[i] = byte(r.Uint32())
		}
		theirs := mine
		switch r.IntN(6) {
		case 0:
			theirs.uuid[r.IntN(16)] ^= 1 << r.IntN(8)
		case 1:
			theirs.blocks ^= 1 << r.IntN(64)
		case 2:
			theirs.log ^= 1 << r.IntN(32)
		case 3:
			theirs.wide = !theirs.wide
		}
		want := BaseCheck{BaseSame, "both have the file system " + mine.id()}
		if mine.uuid != theirs.uuid {
			want = BaseCheck{BaseDiffers, fmt.Sprintf("the COW belongs to the file system %s, the origin holds %s", mine.id(), theirs.id())}
		} else if mine.size() != theirs.size() {
			want = BaseCheck{BaseDiffers, fmt.Sprintf("the COW's file system has %s, that of the origin %s", mine.size(), theirs.size())}
		}
		origin := theirs.encode(64 << 10)
		for i := 1536; i < 4096; i++ {
			origin[i] = byte(r.Uint32()) // what is behind does not count
		}
		cow := forge(8, 10*4096, [][2]uint64{{0, 2}})
		copy(cow[2*4096:], mine.encode(4096))
		if got, err := over(t, cow, origin).CheckBase(); err != nil || got != want {
			t.Fatalf("seed %d: %+v, %v\nwant %+v", seed, got, err, want)
		}
	}
}

// TestBoundary: a batch begins at the last entry that begins a last sector of an
// area and leaves at least as much as a batch is to have, or else with the first.
func TestBoundary(t *testing.T) {
	t.Parallel()
	for _, sectors := range []uint32{1, 8, 32} {
		g := newGeometry(sectors)
		for _, batch := range []int64{1, g.bytes - 1, g.bytes, g.bytes + 1, 7 * g.bytes, int64(g.epa) * g.bytes,
			5 * int64(g.epa) * g.bytes / 2} {
			m := &inPlace{d: &Device{cow: &COW{geo: g}}, o: InPlaceOptions{Batch: batch}}
			last := uint64(0)
			leaves := uint64((batch + g.bytes - 1) / g.bytes)
			for hi := uint64(1); hi < 6*g.epa; hi++ {
				if hi > leaves && (hi-leaves)%g.epa == g.epa-sectorEntries {
					last = hi - leaves
				}
				if got := m.boundary(hi); got != last {
					t.Fatalf("chunks of %d sectors, batches of %d bytes, up to entry %d: from %d, want %d", sectors, batch, hi, got, last)
				}
			}
		}
	}
}
