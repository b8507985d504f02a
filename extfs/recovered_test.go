package extfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"testing"

	"relive/extfs/internal/ondisk"
	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// sparseBytes is a device in memory that knows of its holes.
type sparseBytes struct {
	*bytes.Reader
	p []byte
}

func (s sparseBytes) Size() int64  { return int64(len(s.p)) }
func (s sparseBytes) Close() error { return nil }
func (s sparseBytes) NextData(off int64) (int64, int64, error) {
	const unit = 4096
	zero := func(at int64) bool { return tree.IsZero(s.p[at:min(at/unit*unit+unit, s.Size())]) }
	for off < s.Size() && zero(off) {
		off = off/unit*unit + unit
	}
	if off >= s.Size() {
		return 0, 0, io.EOF
	}
	end := off
	for end < s.Size() && !zero(end) {
		end = min(end/unit*unit+unit, s.Size())
	}
	return off, end, nil
}

// readRecovered reads the recovered device by its data ranges, and checks what
// it says of changes against the device.
func readRecovered(t testing.TB, r *Recovered, device []byte) []byte {
	t.Helper()
	if r.Size() != int64(len(device)) {
		t.Fatalf("%d bytes of %d", r.Size(), len(device))
	}
	whole := make([]byte, len(device)+1)
	n, err := r.ReadAt(whole, 0)
	if whole = whole[:len(device)]; n != len(whole) || err != io.EOF {
		t.Fatalf("%d bytes, %v", n, err)
	}
	const most = 1 << 20
	buf := make([]byte, most)
	last := int64(0)
	for off := int64(0); ; {
		start, end, err := r.NextData(off)
		if err == io.EOF {
			break
		}
		if err != nil || start < off || end <= start || end > r.Size() {
			t.Fatalf("NextData(%d): %d, %d, %v", off, start, end, err)
		}
		for at := start; at < end; at += most {
			p := buf[:min(most, end-at)]
			if err := tree.ReadFull(r, p, at); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(p, whole[at:][:len(p)]) {
				t.Errorf("bytes %d to %d are others when they are read alone", at, at+int64(len(p)))
			}
		}
		if !tree.IsZero(whole[last:start]) {
			t.Errorf("bytes %d to %d are not said to be data", last, start)
		}
		last = end
		// What is data is so from its middle on, but for zeros that the device
		// then knows of.
		mid := (start + end) / 2
		if s, e, err := r.NextData(mid); err == nil && (s < mid || e <= s || e > r.Size()) || err != nil && err != io.EOF {
			t.Fatalf("NextData(%d): %d, %d, %v", mid, s, e, err)
		} else if err == nil && !tree.IsZero(whole[mid:s]) || err == io.EOF && !tree.IsZero(whole[mid:]) {
			t.Fatalf("NextData(%d) passes over data", mid)
		}
		off = end
	}
	if !tree.IsZero(whole[last:]) {
		t.Errorf("bytes from %d on are not said to be data", last)
	}
	at := int64(0)
	same := func(from, to int64) {
		if !bytes.Equal(whole[from:to], device[from:to]) {
			t.Errorf("bytes %d to %d are not said to change", from, to)
		}
		if r.ChangedIn(from, to-from) {
			t.Errorf("nothing changes in bytes %d to %d", from, to)
		}
	}
	for c := range r.Changed() {
		if c.Length <= 0 || c.Start <= at && at > 0 || c.End() > r.Size() {
			t.Fatalf("%+v after %d", c, at)
		}
		same(at, c.Start)
		if !r.ChangedIn(c.Start, 1) || !r.ChangedIn(c.End()-1, 100) || c.Start > 0 && !r.ChangedIn(c.Start-1, 2) ||
			r.ChangedIn(c.Start, 0) {
			t.Errorf("%+v is not said to change", c)
		}
		at = c.End()
	}
	same(at, r.Size())
	return whole
}

// checkRecovered holds the recovered device of an image against what e2fsck and
// the kernel make of a copy.
func checkRecovered(t testing.TB, img string) {
	t.Helper()
	device := systest.ReadFile(t, img)
	fs, err := Open(sparseBytes{bytes.NewReader(device), device}, int64(len(device)), "image")
	if err != nil {
		t.Fatal(err)
	}
	r, err := fs.Recovered()
	if err != nil {
		t.Fatal(err)
	}
	got := readRecovered(t, r, device)
	again := openBytes(t, got)
	if info := again.Info(); info.NeedsRecovery || !info.Journal.Clean || info.Journal.Err != nil {
		t.Errorf("recovered: %+v", info.Journal)
	}

	path := filepath.Join(systest.MemDir(t), "recovered")
	systest.WriteSparse(t, path, got)
	replayed := copyImage(t, img)
	// Exit status 1 says that it has changed something.
	var e *exec.ExitError
	if _, err := systest.Try(t, "e2fsck", "-E", "journal_only", "-p", replayed); err != nil && (!errors.As(err, &e) || e.ExitCode() != 1) {
		t.Fatal(err)
	}
	want := systest.ReadFile(t, replayed)
	if ondisk.LE32(fs.sb, ondisk.SBLastOrphan) == 0 && !again.geo.hasRO(ondisk.ROOrphanPresent) {
		// Else e2fsck has cleared the orphans away too. And it replays fast
		// commits that the kernel takes for old ones.
		if fs.journal.FastCommitBlocks == 0 {
			compareRecovered(t, fs, got, want)
		}
		systest.Fsck(t, path)
	}
	// The kernel shows the same, whatever stands in what is free and in the
	// journal, and leaves nothing for e2fsck.
	overwriteFree(t, path, freeRanges(t, fs), 0xA5)
	overwriteFree(t, path, idleJournal(t, fs), 0xA5)
	dir, umount := mount(t, path, "rw,noatime")
	kernel, err := hostfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	compareTrees(t, rootOf(t, fs), kernel, false)
	umount()
	systest.Fsck(t, path)
}

// compareRecovered compares with what e2fsck makes of the journal, byte by byte
// but for the times and statistics that it writes, and the free counts and the
// mark of an orphan file that it leaves to a full check.
func compareRecovered(t testing.TB, fs *FS, got, want []byte) {
	t.Helper()
	for _, f := range [][2]int{{ondisk.SBWriteTime, 4}, {ondisk.SBKBytesWritten, 8}, {ondisk.SBChecksum, 4}, {ondisk.SBFreeBlocksLo, 4},
		{ondisk.SBFreeInodes, 4}, {ondisk.SBFeatureROCompat + 2, 1}} {
		clear(got[ondisk.SuperblockOffset+f[0]:][:f[1]])
		clear(want[ondisk.SuperblockOffset+f[0]:][:f[1]])
	}
	if len(got) != len(want) {
		t.Fatalf("%d bytes, e2fsck makes %d", len(got), len(want))
	}
	wrong := 0
	for i := 0; i < len(got); i++ {
		if n := min(4096, len(got)-i); i%4096 == 0 && bytes.Equal(got[i:i+n], want[i:i+n]) {
			i += n - 1
			continue
		}
		if got[i] != want[i] {
			if wrong++; wrong < 20 {
				t.Errorf("byte %d (%#x of block %d): %#x, e2fsck makes %#x", i, int64(i)%fs.geo.blockSize, int64(i)/fs.geo.blockSize,
					got[i], want[i])
			}
		}
	}
}

// TestRecoveredClean: where nothing is to be recovered, nothing changes.
func TestRecoveredClean(t *testing.T) {
	for _, name := range []string{"seed-ext2", "seed-extents", "ext4-4k-plain"} {
		img := fixture(t, name)
		r, err := openBytes(t, img).Recovered()
		if err != nil {
			t.Fatal(err)
		}
		if got := readRecovered(t, r, img); !bytes.Equal(got, img) || len(r.changed) > 0 {
			t.Errorf("%s: changed at %v", name, r.changed)
		}
	}
}

// TestRecoveredFixtures recovers images that were copied while they were
// mounted: what is then on the device shows the same tree.
func TestRecoveredFixtures(t *testing.T) {
	for _, name := range []string{"ext3-metacopy-dirty", "ext4-4k-metacopy-dirty", "ext4-4k-plain-dirty", "seed-journal"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			img := fixture(t, name)
			fs, err := Open(sparseBytes{bytes.NewReader(img), img}, int64(len(img)), "image")
			if err != nil {
				t.Fatal(err)
			}
			r, err := fs.Recovered()
			if err != nil {
				t.Fatal(err)
			}
			again := openBytes(t, readRecovered(t, r, img))
			compareTrees(t, rootOf(t, again), rootOf(t, fs), true)
			if info := again.Info(); info.NeedsRecovery || info.Journal.ReplayBlocks > 0 || fs.Info().Journal.ReplayBlocks == 0 {
				t.Errorf("%+v, then %+v", fs.Info().Journal, info.Journal)
			}
			twice, err := again.Recovered()
			if err != nil || len(twice.changed) > 0 {
				t.Errorf("again: %v, %v", twice.changed, err)
			}
		})
	}
	if _, err := openBytes(t, fixture(t, "seed-fast-journal")).Recovered(); !errors.Is(err, tree.ErrUnsupported) {
		t.Errorf("fast commits: %v", err)
	}
}

// TestRecoveredErrors: errors that the kernel recorded in the superblock, past
// the journal, are not lost with the journal's older copy of it.
func TestRecoveredErrors(t *testing.T) {
	img := fixture(t, "ext4-4k-plain-dirty")
	sb := img[ondisk.SuperblockOffset:][:ondisk.SuperblockSize]
	sb[ondisk.SBState] |= ondisk.StateErrors
	sb[ondisk.SBErrorCount] = 3
	copy(sb[ondisk.SBFirstErrorFunc:], "ext4_lookup")
	binary.LittleEndian.PutUint32(sb[ondisk.SBChecksum:], ondisk.SuperblockChecksum(sb))
	fs := openBytes(t, img)
	i := fs.dev.overlayFrom(0)
	if i == len(fs.dev.overlay) || fs.dev.overlay[i].block != 0 {
		t.Fatal("the journal holds no superblock")
	}
	check := func(info Info) {
		t.Helper()
		if !info.HasErrors || info.ErrorCount != 3 || info.FirstError.Function != "ext4_lookup" {
			t.Errorf("%+v", info)
		}
	}
	check(fs.Info())
	r, err := fs.Recovered()
	if err != nil {
		t.Fatal(err)
	}
	check(openBytes(t, readRecovered(t, r, img)).Info())
}
