package extfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"relive/extfs/internal/ondisk"
	"slices"
	"testing"
)

// logWriter writes a log as jbd2 does (fs/jbd2/commit.c, revoke.c), and keeps
// beside it which content each block has when all of it is replayed.
type logWriter struct {
	j        *journal // the image's, with the features of this log
	img      []byte
	next     uint64
	sequence uint32
	time     uint64
	copies   []logged
}

// logged is a copy in the log; revoked where it does not count any more.
type logged struct {
	block   uint64
	content []byte
	revoked bool
}

// put writes a block of the log.
func (w *logWriter) put(p []byte) {
	at, err := w.j.physical(w.next)
	if err != nil {
		panic(err)
	}
	copy(w.img[int64(at)*w.j.fs.geo.blockSize:], p)
	if w.next++; w.next == w.j.last {
		w.next = w.j.first
	}
}

func (w *logWriter) header(kind uint32) []byte {
	p := make([]byte, w.j.fs.geo.blockSize)
	be := binary.BigEndian
	be.PutUint32(p, ondisk.JBDMagic)
	be.PutUint32(p[4:], kind)
	be.PutUint32(p[8:], w.sequence)
	return p
}

func (w *logWriter) crc(parts ...[]byte) uint32 {
	c := w.j.seed
	for _, p := range parts {
		c = ondisk.CRC32C(c, p)
	}
	return c
}

// tail is the checksum at the end of a descriptor or revoke block.
func (w *logWriter) tail(p []byte) {
	if w.j.incompat&(ondisk.JBDIncompatCsumV2|ondisk.JBDIncompatCsumV3) != 0 {
		binary.BigEndian.PutUint32(p[len(p)-4:], w.crc(p))
	}
}

// transaction writes revokes, copies and, where it is whole, the commit.
func (w *logWriter) transaction(r *rand.Rand, revokes []uint64, writes []logged, whole bool) {
	be := binary.BigEndian
	v2, v3, wide := w.j.incompat&ondisk.JBDIncompatCsumV2 != 0, w.j.incompat&ondisk.JBDIncompatCsumV3 != 0,
		w.j.incompat&ondisk.JBDIncompat64Bit != 0
	sum := ^uint32(0)
	if len(revokes) > 0 {
		p, at := w.header(ondisk.JBDRevoke), 16
		for _, b := range revokes {
			if wide {
				be.PutUint64(p[at:], b)
				at += 8
			} else {
				be.PutUint32(p[at:], uint32(b))
				at += 4
			}
			for i := range w.copies {
				w.copies[i].revoked = w.copies[i].revoked || whole && w.copies[i].block == b
			}
		}
		be.PutUint32(p[12:], uint32(at))
		w.tail(p)
		w.put(p)
	}
	seq := binary.BigEndian.AppendUint32(nil, w.sequence)
	for rest := writes; len(rest) > 0; {
		n := 1 + r.IntN(min(len(rest), 9))
		p, at := w.header(ondisk.JBDDescriptor), 12
		var blocks [][]byte
		for i, c := range rest[:n] {
			stored, flags := bytes.Clone(c.content), uint32(0)
			if be.Uint32(stored) == ondisk.JBDMagic {
				flags |= 1
				clear(stored[:4])
			}
			if i > 0 {
				flags |= 2
			}
			if i == n-1 {
				flags |= 8
			}
			be.PutUint32(p[at:], uint32(c.block))
			c32 := w.crc(seq, stored)
			size := 8
			switch {
			case v3:
				be.PutUint32(p[at+4:], flags)
				be.PutUint32(p[at+12:], c32)
				size = 16
			case v2:
				be.PutUint16(p[at+4:], uint16(c32))
				be.PutUint16(p[at+6:], uint16(flags))
				size = 10
			default:
				be.PutUint16(p[at+6:], uint16(flags))
			}
			if wide && !v3 {
				size += 4
			}
			if at += size; i == 0 {
				at += 16 // the UUID
			}
			blocks = append(blocks, stored)
		}
		w.tail(p)
		w.put(p)
		sum = ondisk.CRC32BE(sum, p)
		for _, b := range blocks {
			w.put(b)
			sum = ondisk.CRC32BE(sum, b)
		}
		if whole {
			w.copies = append(w.copies, rest[:n]...)
		}
		rest = rest[n:]
	}
	if !whole {
		return
	}
	p := w.header(ondisk.JBDCommit)
	w.time += uint64(r.IntN(2))
	be.PutUint64(p[48:], w.time)
	switch {
	case w.j.compat&ondisk.JBDCompatChecksum != 0:
		p[12], p[13] = 1, 4
		be.PutUint32(p[16:], sum)
	case v2 || v3:
		be.PutUint32(p[16:], w.crc(p))
	}
	w.put(p)
	w.sequence++
}

// TestReplayModel replays random logs of every format: some transactions with
// copies and revokes, more than one descriptor each, escaped content, the end of
// the log and of the numbers passed, and behind them one without its commit. Every
// block is what the model has, also read in part and across its bounds.
func TestReplayModel(t *testing.T) {
	clean := fixture(t, "ext4-1k-metacopy")
	type format struct {
		name             string
		compat, incompat uint32
	}
	for _, f := range []format{
		{"plain", 0, 0},
		{"v1", ondisk.JBDCompatChecksum, 0},
		{"v2", 0, ondisk.JBDIncompatCsumV2},
		{"v3", 0, ondisk.JBDIncompatCsumV3},
		{"v1 async", ondisk.JBDCompatChecksum, ondisk.JBDIncompatAsyncCommit},
		{"v3 async", 0, ondisk.JBDIncompatCsumV3 | ondisk.JBDIncompatAsyncCommit},
	} {
		for _, wide := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, 64bit %v", f.name, wide), func(t *testing.T) {
				img, want, whole := make([]byte, len(clean)), make([]byte, len(clean)), make([]byte, len(clean))
				for seed := range uint64(12) {
					copy(img, clean)
					replayModel(t, img, want, whole, seed, f.compat, f.incompat, wide)
				}
			})
		}
	}
}

// replayModel has want and whole for use, of the image's length.
func replayModel(t *testing.T, img, want, whole []byte, seed uint64, compat, incompat uint32, wide bool) {
	r := rand.New(rand.NewPCG(seed, 30))
	fs := openBytes(t, img)
	j, err := fs.loadJournal()
	if err != nil {
		t.Fatal(err)
	}
	incompat |= ondisk.JBDIncompatRevoke
	if wide {
		incompat |= ondisk.JBDIncompat64Bit
	}
	bs := fs.geo.blockSize
	at, err := j.physical(0)
	if err != nil {
		t.Fatal(err)
	}
	sb := img[int64(at)*bs:][:ondisk.JBDSBSize]
	be := binary.BigEndian
	be.PutUint32(sb[ondisk.JSBCompat:], compat)
	be.PutUint32(sb[ondisk.JSBIncompat:], incompat)
	sb[ondisk.JSBChecksumTyp] = ondisk.JBDCRC32C
	// The log may begin anywhere, also just before its end.
	start := j.first + uint64(r.IntN(int(j.last-j.first)))
	if r.IntN(2) == 0 {
		start = j.last - 1 - uint64(r.IntN(20))
	}
	sequence := []uint32{1, 0xFFFFFFFE, r.Uint32()}[r.IntN(3)]
	be.PutUint32(sb[ondisk.JSBStart:], uint32(start))
	be.PutUint32(sb[ondisk.JSBSequence:], sequence)
	be.PutUint32(sb[ondisk.JSBChecksum:], journalSuperblockChecksum(sb))
	j.compat, j.incompat = compat, incompat
	j.seed = ondisk.CRC32C(^uint32(0), sb[ondisk.JSBUUID:ondisk.JSBUUID+ondisk.JBDUUIDSize])
	// What is free may be written by a log without the rest being other than it is.
	var free []uint64
	for e, err := range fs.FreeExtents() {
		if err != nil {
			t.Fatal(err)
		}
		for b := e.Start; b < e.Start+e.Count && len(free) < 14; b++ {
			free = append(free, uint64(b))
		}
	}
	w := &logWriter{j: j, img: img, next: start, sequence: sequence, time: 1}
	transactions := 1 + r.IntN(6)
	for i := range transactions + 1 {
		whole := i < transactions
		var revokes []uint64
		for range r.IntN(4) {
			revokes = append(revokes, free[r.IntN(len(free))])
		}
		var writes []logged
		for range 1 + r.IntN(25) {
			c := logged{block: free[r.IntN(len(free))], content: make([]byte, bs)}
			// A block that is written again in the same transaction is not revoked in it
			// (jbd2_journal_cancel_revoke), and has one copy there.
			if slices.Contains(revokes, c.block) || slices.ContainsFunc(writes, func(o logged) bool { return o.block == c.block }) {
				continue
			}
			for k := range c.content {
				c.content[k] = byte(r.Uint32())
			}
			if r.IntN(3) == 0 {
				be.PutUint32(c.content, ondisk.JBDMagic)
			}
			writes = append(writes, c)
		}
		w.transaction(r, revokes, writes, whole)
	}
	w.put(make([]byte, bs)) // what was there before ends it
	binary.LittleEndian.PutUint32(img[ondisk.SuperblockOffset+ondisk.SBFeatureIncompat:], ondisk.LE32(img[ondisk.SuperblockOffset:],
		ondisk.SBFeatureIncompat)|ondisk.IncompatRecover)
	if fs.geo.metadataCsum() {
		binary.LittleEndian.PutUint32(img[ondisk.SuperblockOffset+ondisk.SBChecksum:],
			ondisk.SuperblockChecksum(img[ondisk.SuperblockOffset:][:ondisk.SuperblockSize]))
	}

	copy(want, img)
	replaced := map[uint64]bool{}
	for _, c := range w.copies {
		if !c.revoked {
			copy(want[int64(c.block)*bs:], c.content)
			replaced[c.block] = true
		}
	}
	got, err := Open(bytes.NewReader(img), int64(len(img)), "image")
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	if info := got.Info().Journal; info.Transactions != transactions || info.ReplayBlocks != len(replaced) || info.Clean {
		t.Fatalf("seed %d: %+v, want %d transactions and %d blocks", seed, info, transactions, len(replaced))
	}
	for range 400 {
		off := int64(free[r.IntN(len(free))])*bs - bs + r.Int64N(3*bs)
		p := make([]byte, 1+r.IntN(3*int(bs)))
		if err := got.dev.readAt(p, off); err != nil || !bytes.Equal(p, want[off:off+int64(len(p))]) {
			t.Fatalf("seed %d: %d bytes at %d are others than the log has, %v", seed, len(p), off, err)
		}
	}
	if err := got.dev.readAt(whole, 0); err != nil || !bytes.Equal(whole, want) {
		t.Fatalf("seed %d: a block is another than the log has, %v", seed, err)
	}
	rec, err := got.Recovered()
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	after := readRecovered(t, rec, img)
	for b := range replaced {
		if !bytes.Equal(after[int64(b)*bs:][:bs], want[int64(b)*bs:][:bs]) {
			t.Errorf("seed %d: block %d is not recovered", seed, b)
		}
	}
	again := openBytes(t, after)
	if info := again.Info(); info.NeedsRecovery || !info.Journal.Clean {
		t.Errorf("seed %d: recovered: %+v", seed, info.Journal)
	}
	compareTrees(t, rootOf(t, again), rootOf(t, fs), true)
}
