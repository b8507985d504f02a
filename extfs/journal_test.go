package extfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/extfs/internal/ondisk"
	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// copyImage copies an image, which may be mounted, keeping holes.
func copyImage(t testing.TB, img string) string {
	t.Helper()
	to := filepath.Join(systest.MemDir(t), "copy")
	systest.CopyFile(t, img, to)
	return to
}

// compareAfterRecovery compares an image that needs recovery with what the
// kernel shows of a copy after its own recovery.
func compareAfterRecovery(t testing.TB, img string) *FS {
	t.Helper()
	fs := openImage(t, img)
	dir, umount := mount(t, copyImage(t, img), "rw,noatime")
	want, err := hostfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	compareTrees(t, rootOf(t, fs), want, true)
	checkFree(t, fs)
	umount()
	return fs
}

// syncDir writes all that is dirty to where it belongs.
func syncDir(t testing.TB, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		t.Fatal(err)
	}
}

// setJournalSequence makes the next transactions' numbers run over 2^32.
func setJournalSequence(t testing.TB, img string, sequence uint32) {
	t.Helper()
	fs := openImage(t, img)
	j, err := fs.loadJournal()
	if err != nil {
		t.Fatal(err)
	}
	at, err := j.physical(0)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(img, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sb := make([]byte, ondisk.JBDSBSize)
	off := int64(at) * fs.geo.blockSize
	if _, err := f.ReadAt(sb, off); err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint32(sb[ondisk.JSBSequence:], sequence)
	binary.BigEndian.PutUint32(sb[ondisk.JSBChecksum:], 0)
	binary.BigEndian.PutUint32(sb[ondisk.JSBChecksum:], ondisk.CRC32C(^uint32(0), sb))
	if _, err := f.WriteAt(sb, off); err != nil {
		t.Fatal(err)
	}
}

var journalCases = []struct {
	name     string
	bs       int64
	args     []string
	mount    string
	sequence uint32
	features string
}{
	{"ext3", 1024, []string{"-t", "ext3", "-b", "1024", "-J", "size=1"}, "data=ordered", 0, ""},
	{"ext3-data", 4096, []string{"-t", "ext3", "-b", "4096", "-J", "size=4"}, "data=journal", 0, ""},
	{"csum-v1", 4096, []string{"-t", "ext4", "-b", "4096", "-J", "size=4", "-O", "^metadata_csum,^64bit"}, "journal_checksum", 0,
		"journal_checksum"},
	{"csum-v1-async", 2048, []string{"-t", "ext4", "-b", "2048", "-J", "size=2", "-O", "^metadata_csum,^64bit"},
		"journal_async_commit,data=writeback", 0, "journal_async_commit"},
	{"csum-v3", 4096, []string{"-t", "ext4", "-b", "4096", "-J", "size=4"}, "", 0, "journal_checksum_v3"},
	{"csum-v3-wrap", 1024, []string{"-t", "ext4", "-b", "1024", "-J", "size=1", "-O", "64bit"}, "data=journal", 0xFFFFFFF8,
		"journal_checksum_v3"},
	{"csum-v3-async", 4096, []string{"-t", "ext4", "-b", "4096", "-J", "size=4"}, "journal_async_commit,data=writeback", 0,
		"journal_async_commit"},
	{"no-64bit", 4096, []string{"-t", "ext4", "-b", "4096", "-J", "size=4", "-O", "^64bit"}, "data=journal", 0, "journal_checksum_v3"},
	{"orphan-file", 4096, []string{"-t", "ext4", "-b", "4096", "-J", "size=4", "-O", "orphan_file"}, "", 0, "journal_checksum_v3"},
	{"indirect-journal", 1024, []string{"-t", "ext4", "-b", "1024", "-J", "size=2", "-O", "^extent,^64bit,^metadata_csum"}, "nodelalloc",
		0xFFFFFFF0, ""},
}

// TestJournal copies file systems while they are mounted and compares what the
// replay gives with the kernel's own recovery.
func TestJournal(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "mount")
	for i, c := range journalCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, 24, c.args...)
			if c.sequence != 0 {
				setJournalSequence(t, img, c.sequence)
			}
			// A long commit interval leaves when to commit to syncfs.
			dir, umount := mount(t, img, strings.TrimPrefix(c.mount+",rw,commit=300", ","))
			rnd := rand.New(rand.NewPCG(3, 4))
			f := filler{t: t, dir: dir, bs: c.bs, files: 200, small: true, rnd: rnd}
			f.all()
			syncDir(t, dir)
			// Files without a name that are still open are on the list of
			// orphans, which the kernel's recovery works off.
			var orphans []*os.File
			closeOrphans := func() {
				for _, o := range orphans {
					o.Close()
				}
				orphans = nil
			}
			t.Cleanup(closeOrphans) // before the unmounting that mount has registered
			for _, name := range []string{"orphan1", "orphan2"} {
				o, err := os.Create(f.path(name))
				f.ok(err)
				orphans = append(orphans, o)
				_, err = o.Write(f.bytes(30_000))
				f.ok(err)
				f.ok(os.Remove(f.path(name)))
			}
			replayed := 0
			for round := range 3 {
				if round == 2 {
					closeOrphans()
				}
				journalRound(f, round)
				copied := copyImage(t, img)
				fs := compareAfterRecovery(t, copied)
				if round == 1+i%2 || round > 0 && c.name == "orphan-file" { // with orphans, or without
					checkRecovered(t, copied)
				}
				info := fs.Info()
				if !info.NeedsRecovery {
					t.Errorf("round %d: not in need of recovery", round)
				}
				replayed += info.Journal.ReplayBlocks
				if !strings.Contains(strings.Join(info.Journal.Features, " "), c.features) {
					t.Errorf("journal features %v, want %s", info.Journal.Features, c.features)
				}
			}
			if replayed == 0 {
				t.Error("nothing was replayed")
			}
			closeOrphans()
			umount()
			if info := openImage(t, img).Info(); !info.Journal.Clean || info.NeedsRecovery {
				t.Errorf("after unmounting: %+v", info.Journal)
			}
		})
	}
}

// journalRound changes much, with commits between (by fsync, which leaves to
// the log what it has taken in): directories that go and
// whose blocks become data, which takes revoke records, and with data=journal
// data that has to be escaped.
func journalRound(f filler, round int) {
	magic := []byte{0xC0, 0x3B, 0x39, 0x98}
	for i := range 5 {
		d := f.path(fmt.Sprintf("round%d-%d", round, i))
		f.ok(os.Mkdir(d, 0o755))
		for k := range 60 {
			f.ok(os.WriteFile(fmt.Sprintf("%s/%s%d", d, strings.Repeat("n", 80), k), nil, 0o644))
		}
		fsync(f.t, f.dir)
		if i%2 == 0 {
			f.ok(os.RemoveAll(d))
			fsync(f.t, f.dir)
		}
		fsync(f.t, f.write(fmt.Sprintf("data%d", i), bytes.Repeat(append(magic, f.bytes(508)...), 40+round)))
	}
	f.ok(os.Remove(f.path(fmt.Sprintf("data%d", round))))
	f.ok(os.Rename(f.path("data4"), f.path(fmt.Sprintf("renamed%d", round))))
	if round%2 == 0 {
		fsync(f.t, f.dir) // else the last changes are in no commit yet
	}
}

// TestJournalByDebugfs has debugfs write transactions without checksums and
// with versions 2, which no kernel makes any more, and 3; and revoke records.
// Its version 1 is broken after a revoke record, and the kernel says so too.
func TestJournalByDebugfs(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "mount", "debugfs")
	for _, c := range []struct{ open, checksum, journal string }{
		{"jo", "^metadata_csum", "journal_incompat_revoke"},
		{"jo -c -v 2", "metadata_csum", "journal_checksum_v2"},
		{"jo -c -v 3", "metadata_csum", "journal_checksum_v3"},
	} {
		for _, bits := range []string{"64bit", "^64bit"} {
			t.Run(c.journal+","+bits, func(t *testing.T) {
				t.Parallel()
				img := mkfs(t, 24, "-t", "ext4", "-b", "1024", "-J", "size=1", "-O", c.checksum+","+bits)
				dir, umount := mount(t, img, "rw")
				f := filler{t: t, dir: dir, bs: 1024, rnd: rand.New(rand.NewPCG(5, 6))}
				f.write("file", f.bytes(8<<10))
				umount()
				blocks := strings.Fields(systest.Run(t, "debugfs", "-R", "blocks /file", img))
				blocks = blocks[len(blocks)-8:]
				// Eight blocks replaced, two of them revoked, one of these again.
				replace := filepath.Join(t.TempDir(), "new")
				f.ok(os.WriteFile(replace, append([]byte{0xC0, 0x3B, 0x39, 0x98}, f.bytes(8<<10-4)...), 0o600))
				script := strings.Join([]string{
					c.open,
					"jw -b " + strings.Join(blocks, ",") + " " + replace,
					"jw -r " + blocks[2] + "," + blocks[5],
					"jw -b " + blocks[5] + " " + replace,
					"jc",
				}, "\n")
				if out := systest.Feed(t, script, "debugfs", "-w", "-f", "-", img); strings.Contains(out, "rror") {
					t.Fatal(out)
				}
				fs := compareAfterRecovery(t, img)
				checkRecovered(t, img)
				if got := fs.Info().Journal.Features; !slices.Contains(got, c.journal) {
					t.Errorf("journal features %v", got)
				}
				if j := fs.Info().Journal; j.Transactions != 3 || j.ReplayBlocks != 7 {
					t.Errorf("%+v", j)
				}
			})
		}
	}
}

// TestJournalSequence has a log that starts before the numbers of transactions
// run over and ends after that.
func TestJournalSequence(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "mount")
	img := mkfs(t, 16, "-t", "ext4", "-b", "1024", "-J", "size=1")
	setJournalSequence(t, img, 0xFFFFFFFC)
	dir, _ := mount(t, img, "rw,commit=300")
	f := filler{t: t, dir: dir, bs: 1024, rnd: rand.New(rand.NewPCG(7, 8))}
	for i := range 8 {
		f.write(fmt.Sprint("f", i%3), f.bytes(100+i))
		f.ok(os.Mkdir(f.path(fmt.Sprint("d", i)), 0o755))
		if i > 0 {
			f.ok(os.Remove(f.path(fmt.Sprint("d", i-1))))
		}
		fsync(t, dir)
	}
	copied := copyImage(t, img)
	fs := compareAfterRecovery(t, copied)
	checkRecovered(t, copied)
	j, err := fs.loadJournal()
	f.ok(err)
	if end := j.sequence + uint32(fs.Info().Journal.Transactions); end >= j.sequence {
		t.Errorf("transactions %#x to %#x", j.sequence, end)
	}
}

// TestJournalDamage breaks each block of a log in many places: what is read is
// then an error or what the kernel makes of it, and never something else.
func TestJournalDamage(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "mount")
	for _, c := range []struct{ features, options string }{
		{"metadata_csum", "commit=300"},                   // checksums v3
		{"^metadata_csum", "commit=300,journal_checksum"}, // v1
		{"metadata_csum", "commit=300,journal_async_commit,data=writeback"},
		{"^metadata_csum", "commit=300,journal_async_commit,data=writeback"},
	} {
		t.Run(c.features+","+c.options, func(t *testing.T) {
			t.Parallel()
			journalDamage(t, c.features, c.options)
		})
	}
}

func journalDamage(t *testing.T, features, options string) {
	img := mkfs(t, 8, "-t", "ext4", "-b", "1024", "-J", "size=1", "-O", features)
	dir, _ := mount(t, img, "rw,"+options)
	for i := range 3 {
		f := filler{t: t, dir: dir, bs: 1024, rnd: rand.New(rand.NewPCG(7, 8))}
		f.write(fmt.Sprint("f", i), []byte("x"))
		fsync(t, dir)
	}
	whole := systest.ReadFile(t, copyImage(t, img))
	fs := openBytes(t, whole)
	if fs.Info().Journal.Transactions < 3 {
		t.Fatalf("%+v", fs.Info().Journal)
	}
	j, err := fs.loadJournal()
	if err != nil {
		t.Fatal(err)
	}
	var kinds struct{ corrupt, fewer, same int }
	for n := j.start; n < j.start+25; n++ {
		at, err := j.physical(n)
		if err != nil {
			t.Fatal(err)
		}
		p := whole[at*1024:][:1024]
		for i, off := range []int{5, 9, 40, 300, 600, 700, 1000, 1017, 1020, 1023} {
			p[off] ^= 0x10
			fs, err := Open(bytes.NewReader(whole), int64(len(whole)), "image")
			switch {
			case err != nil:
				kinds.corrupt++
				if !errors.Is(err, tree.ErrCorrupt) {
					t.Errorf("%v is not ErrCorrupt", err)
				}
			case fs.Info().Journal.Transactions < 3:
				kinds.fewer++
			default:
				kinds.same++
			}
			if i == int(n*7)%20 { // the kernel is slower to ask
				compareDamaged(t, whole, fs, fmt.Sprintf("block %d, byte %d", n, off))
			}
			p[off] ^= 0x10
		}
	}
	t.Logf("%+v", kinds)
	if kinds.corrupt == 0 || kinds.fewer == 0 || kinds.same == 0 {
		t.Error("the cases do not cover all outcomes")
	}
}

// compareDamaged holds what was made of a damaged image, nil for an error,
// against what the kernel makes of it.
func compareDamaged(t *testing.T, img []byte, fs *FS, what string) {
	t.Helper()
	path := filepath.Join(systest.MemDir(t), "damaged")
	systest.WriteSparse(t, path, img)
	dir := systest.TempDir(t)
	_, err := systest.Try(t, "mount", "-t", "ext4", "-o", "loop,rw", path, dir)
	if (err == nil) != (fs != nil) {
		t.Errorf("%s: kernel: %v, opened: %v", what, err, fs != nil)
	}
	if err != nil {
		return
	}
	defer systest.Unmount(t, dir)
	if fs == nil {
		return
	}
	want, err := hostfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	compareTrees(t, rootOf(t, fs), want, true)
}
