package compact_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"testing"

	"relive/remaster/compact"
	"relive/remaster/exclude"
	"relive/remaster/livetest"
	"relive/tree/systest"
)

// laidOver returns an image with a COW's chunks in it, whatever their size.
func laidOver(t testing.TB, image, cow []byte) []byte {
	t.Helper()
	out := bytes.Clone(image)
	if binary.LittleEndian.Uint32(cow) == 0 {
		return out
	}
	chunk := uint64(binary.LittleEndian.Uint32(cow[12:])) * 512
	each := chunk / 16
	for i := uint64(0); ; i++ {
		entry := cow[chunk*(1+i/each*(each+1))+i%each*16:]
		old, now := binary.LittleEndian.Uint64(entry), binary.LittleEndian.Uint64(entry[8:])
		if now == 0 {
			return out
		}
		copy(out[old*chunk:], cow[now*chunk:(now+1)*chunk])
	}
}

// TestBetweenChunks: TestBetween for snapshots of other chunks than of 4 KiB,
// over file systems of several kinds, in two rounds, of which the first
// ends with a power cut.
func TestBetweenChunks(t *testing.T) {
	livetest.NeedKernel(t)
	for _, c := range []struct {
		chunk int
		mkfs  []string
	}{
		{4096, []string{"-t", "ext4", "-b", "1024"}},
		{1024, []string{"-t", "ext4", "-b", "4096"}},
		{65536, []string{"-t", "ext4", "-b", "4096"}},
		{65536, []string{"-t", "ext4", "-b", "1024", "-O", "^metadata_csum"}},
		{4096, []string{"-t", "ext4", "-O", "fast_commit,orphan_file"}},
		{4096, []string{"-t", "ext3", "-b", "2048"}},
		{16384, []string{"-t", "ext2"}},
		{4096, []string{"-t", "ext4", "-J", "size=4", "-E", "lazy_journal_init=1,lazy_itable_init=1"}},
	} {
		t.Run(fmt.Sprint(c.chunk, c.mkfs), func(t *testing.T) {
			t.Parallel()
			d := systest.TempDir(t)
			livetest.Write(t, d+"/usr/share/big.db", livetest.Text(1, 300_000), 0o644)
			livetest.Write(t, d+"/opt/gone", livetest.Noise(4, 900_000), 0o644)
			m := livetest.LiveOS(t)
			m.Kind = "raw"
			from := systest.TempDir(t)
			systest.Must(t, os.Mkdir(from+"/LiveOS", 0o755))
			systest.Run(t, "mke2fs", append(append([]string{"-q", "-F"}, c.mkfs...), "-d", d, from+"/LiveOS/rootfs.img", "16M")...)
			systest.Run(t, "mksquashfs", from, m.Path(m.Base), "-noappend", "-quiet", "-no-progress", "-comp", "gzip", "-b", "64K")
			livetest.Write(t, m.Path(m.Over), make([]byte, 24<<20), 0o600)
			for round := range 2 {
				dirty := c.mkfs[1] != "ext2" && round == 0
				base, err := os.ReadFile(m.Image())
				systest.Must(t, err)
				cow, err := os.ReadFile(m.Path(m.Over))
				systest.Must(t, err)
				image := systest.TempDir(t) + "/image"
				systest.Must(t, os.WriteFile(image, laidOver(t, base, cow), 0o600))
				mnt, drop := systest.Mount(t, "auto", "loop", image)
				livetest.Write(t, mnt+fmt.Sprint("/etc/new", round), livetest.Noise(uint64(round), 50_000), 0o600)
				os.Remove(mnt + "/opt/gone")
				livetest.Write(t, mnt+"/usr/share/big.db", livetest.Text(uint64(9+round), 200_000), 0o644)
				livetest.Write(t, mnt+"/etc/synced", livetest.Noise(uint64(30+round), 5_000), 0o600)
				if dirty {
					systest.Run(t, "sync", "-f", mnt)
					livetest.Write(t, mnt+"/etc/synced", livetest.Noise(uint64(20+round), 5_000), 0o600)
					systest.Run(t, "sync", mnt+"/etc/synced")
					systest.CopyFile(t, image, image+".cut")
				}
				drop()
				if dirty {
					image += ".cut"
				}
				now, err := os.ReadFile(image)
				systest.Must(t, err)
				cow = livetest.COWOf(base, now, c.chunk, len(cow))
				systest.Must(t, os.WriteFile(m.Path(m.Over), cow, 0o600))
				mnt, drop = systest.Mount(t, "auto", "loop", image)
				want := livetest.Copied(t, mnt)
				drop()
				livetest.SameTree(t, "the kernel", "relive", want, livetest.Without(t, livetest.OpenTree(t, m.Dir, ""), "lost+found"))
				m.Compact(compact.Options{KeepOld: 1})
				after, err := os.ReadFile(m.Image())
				systest.Must(t, err)
				for _, s := range []struct {
					name string
					now  []byte
				}{{"after", after}, {"in between", laidOver(t, after, cow)}} {
					at := systest.TempDir(t) + "/image"
					systest.Must(t, os.WriteFile(at, s.now, 0o600))
					mnt, drop := systest.Mount(t, "auto", "loop", at)
					livetest.SameTree(t, "before", "the kernel, "+s.name, want, livetest.Without(t, livetest.OpenDir(t, mnt), "lost+found"))
					drop()
					systest.Fsck(t, at)
				}
				c2 := *m
				c2.Dir = systest.TempDir(t) + "/LiveOS"
				systest.Run(t, "cp", "-a", "--sparse=always", m.Dir, c2.Dir)
				systest.Must(t, os.Rename(c2.Path(m.Over+".old"), c2.Path(m.Over)))
				livetest.SameTree(t, "before", "relive, in between", want, livetest.Without(t, livetest.OpenTree(t, c2.Dir, ""),
					"lost+found"))
				// Compacting again from there leads to the same system.
				c2.Compact(compact.Options{KeepOld: 1})
				livetest.SameTree(t, "before", "relive, compacted twice", want, livetest.Without(t, livetest.OpenTree(t, c2.Dir, ""),
					"lost+found"))
				if t.Failed() {
					t.Fatalf("round %d", round)
				}
			}
		})
	}
}

// TestBetweenDirtyBase: the base's own journal was never replayed, and the COW
// holds blocks as they are before that, but neither journal nor superblock: a
// power cut during the first replay. The journal that mends these blocks has to
// stay in the new base for as long as the COW may lie over it.
func TestBetweenDirtyBase(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	d := systest.TempDir(t)
	livetest.Write(t, d+"/usr/share/big.db", livetest.Text(1, 300_000), 0o644)
	m := livetest.LiveOS(t)
	m.Kind = "raw"
	from := systest.TempDir(t)
	systest.Must(t, os.Mkdir(from+"/LiveOS", 0o755))
	image := from + "/LiveOS/rootfs.img"
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", d, image, "24M")
	mnt, drop := systest.Mount(t, "ext4", "loop", image)
	for i := range 50 {
		livetest.Write(t, mnt+fmt.Sprint("/etc/conf/", i), livetest.Noise(uint64(i), 5_000), 0o600)
	}
	systest.Run(t, "sync", mnt+"/etc/conf/49") // into the journal, and no further
	systest.CopyFile(t, image, image+".cut")
	drop()
	systest.Must(t, os.Rename(image+".cut", image))
	before, err := os.ReadFile(image)
	systest.Must(t, err)
	replayed := systest.TempDir(t) + "/image"
	systest.CopyFile(t, image, replayed)
	mnt, drop = systest.Mount(t, "ext4", "loop", replayed)
	want := livetest.Copied(t, mnt)
	drop()
	after, err := os.ReadFile(replayed)
	systest.Must(t, err)
	systest.Run(t, "mksquashfs", from, m.Path(m.Base), "-noappend", "-quiet", "-no-progress", "-comp", "gzip", "-b", "64K")
	// What the replay changes in the tables at the start, but for the superblock,
	// as it was.
	touched := bytes.Clone(before)
	for at := 4096; at < 4<<20; at += 4096 {
		if !bytes.Equal(before[at:at+4096], after[at:at+4096]) && !bytes.HasPrefix(before[at:], []byte{0xc0, 0x3b, 0x39, 0x98}) {
			touched[at]++
		}
	}
	cow := livetest.COWOf(before, touched, 4096, 24<<20)
	if bytes.Equal(before, touched) {
		t.Fatal("the replay changes nothing")
	}
	for i := 0; ; i++ {
		entry := cow[4096*(1+i/256*257)+i%256*16:]
		old, now := binary.LittleEndian.Uint64(entry)*4096, binary.LittleEndian.Uint64(entry[8:])*4096
		if now == 0 {
			break
		}
		copy(cow[now:now+4096], before[old:])
	}
	livetest.Write(t, m.Path(m.Over), cow, 0o600)
	livetest.SameTree(t, "the kernel", "relive", want, livetest.Without(t, livetest.OpenTree(t, m.Dir, ""), "lost+found"))
	m.Compact(compact.Options{KeepOld: 1})
	base, err := os.ReadFile(m.Image())
	systest.Must(t, err)
	for name, b := range map[string][]byte{"after": base, "in between": laidOver(t, base, cow)} {
		at := systest.TempDir(t) + "/image"
		systest.Must(t, os.WriteFile(at, b, 0o600))
		mnt, drop := systest.Mount(t, "ext4", "loop", at)
		livetest.SameTree(t, "before", name, want, livetest.Without(t, livetest.OpenDir(t, mnt), "lost+found"))
		drop()
		systest.Fsck(t, at)
	}
}

// TestExcludesOverSnapshot: where things are left out the image in the base is
// built anew, and a COW over the former one must not lie over it: it is set
// aside first.
func TestExcludesOverSnapshot(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	d := systest.TempDir(t)
	livetest.Write(t, d+"/usr/share/big.db", livetest.Text(1, 300_000), 0o644)
	livetest.Write(t, d+"/opt/gone", livetest.Noise(4, 900_000), 0o644)
	m := livetest.LiveOS(t).Fill(d, "dm", false, false, "-comp", "gzip")
	m.Boot(false, func(mnt string) { livetest.Write(t, mnt+"/etc/new", livetest.Noise(3, 40_000), 0o600) })
	o := compact.Options{KeepOld: 1, Excludes: excluding(t, "opt/gone")}
	want := livetest.Without(t, m.Seen(), "opt/gone")
	res := m.Compact(o)
	if got := res.Plan.Steps[0]; got != "rename "+m.Over+" to "+m.Over+".old" {
		t.Errorf("first %s", got)
	}
	livetest.SameTree(t, "before", "after", want, m.Seen())
	livetest.SameTree(t, "before", "relive, after", want, livetest.Without(t, livetest.OpenTree(t, m.Dir, ""), "lost+found"))
}

func excluding(t testing.TB, pattern string) []exclude.Rule {
	t.Helper()
	r, err := exclude.ParsePattern(pattern, "test")
	systest.Must(t, err)
	return []exclude.Rule{r}
}
