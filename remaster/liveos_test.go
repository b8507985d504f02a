package remaster_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"relive/remaster/changes"
	"relive/remaster/compact"
	"relive/remaster/live"
	"relive/remaster/rollback"
	"relive/tree"
	"relive/tree/systest"
)

// medium is a LiveOS medium; its live directory is dir.
type medium struct {
	frugal
	flat bool   // the base holds the system itself
	bare bool   // the base is an ext image, not compressed
	kind string // of the overlay: "dm", "image" or "dir"
	// Where things are, relative to dir, the image relative to the base.
	base, inner, over, work string
}

// liveOS lays a medium out as Fedora does.
func liveOS(t testing.TB) *medium {
	m := &medium{frugal: frugal{t: t, dir: systest.TempDir(t) + "/LiveOS"}, base: "squashfs.img", inner: "LiveOS/rootfs.img", over: "overlay-LIVE-12AB-34CD", work: "ovlwork"}
	systest.Must(t, os.Mkdir(m.dir, 0o755))
	return m
}

// archiso lays a medium out as Arch Linux does.
func archiso(t testing.TB, kind string) *medium {
	m := &medium{frugal: frugal{t: t, dir: systest.TempDir(t)}, base: "arch/x86_64/airootfs.sfs", inner: "airootfs.img", over: "persistent_ARCH/x86_64/upperdir", work: "persistent_ARCH/x86_64/workdir"}
	if kind == "dm" {
		m.over = "persistent_ARCH/x86_64/airootfs.cow"
	}
	for _, d := range []string{"arch/x86_64", "persistent_ARCH/x86_64"} {
		systest.Must(t, os.MkdirAll(m.path(d), 0o755))
	}
	return m
}

// fill makes a base of a system, and an empty overlay.
func (m *medium) fill(system, kind string, flat, bare bool, squash ...string) *medium {
	t := m.t
	t.Helper()
	m.flat, m.bare, m.kind = flat, bare, kind
	from := system
	if !flat {
		from = systest.TempDir(t)
		image := filepath.Join(from, m.inner)
		systest.Must(t, os.MkdirAll(filepath.Dir(image), 0o755))
		if bare {
			image = m.path("rootfs.img")
		}
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "Anaconda", "-d", system, image, "96M")
	}
	if !bare {
		systest.Run(t, "mksquashfs", append([]string{from, m.path(m.base), "-noappend", "-quiet", "-no-progress"}, squash...)...)
	}
	at := m.path(m.over)
	switch kind {
	case "dm":
		write(t, at, make([]byte, 24<<20), 0o600)
	case "image":
		d := systest.TempDir(t)
		systest.Must(t, os.Mkdir(d+"/overlayfs", 0o755))
		systest.Must(t, os.Mkdir(d+"/ovlwork", 0o755))
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", d, at, "32M")
	case "dir":
		systest.Must(t, os.Mkdir(at, 0o755))
		systest.Must(t, os.Mkdir(m.path(m.work), 0o755))
		systest.Run(t, "setfattr", "-n", "security.selinux", "-v", "system_u:object_r:root_t:s0", at)
	}
	return m
}

// image extracts the file system image.
func (m *medium) image() string {
	m.t.Helper()
	out := systest.TempDir(m.t) + "/rootfs.img"
	if m.bare {
		systest.CopyFile(m.t, m.path("rootfs.img"), out)
		return out
	}
	mnt, drop := systest.Mount(m.t, "squashfs", "loop,ro", m.path(m.base))
	systest.CopyFile(m.t, filepath.Join(mnt, m.inner), out)
	drop()
	return out
}

// lower mounts the base's system.
func (m *medium) lower() string {
	m.t.Helper()
	if m.flat {
		// A copy, since a mounted base is not replaced.
		base := systest.TempDir(m.t) + "/base"
		systest.CopyFile(m.t, m.path(m.base), base)
		mnt, _ := systest.Mount(m.t, "squashfs", "loop,ro", base)
		return mnt
	}
	mnt, _ := systest.Mount(m.t, "ext4", "loop,ro,noload", m.image())
	return mnt
}

// boot runs fn in the system as the kernel shows it, and keeps what it writes
// in the overlay. With dirty, a file system below is left as a power cut would
// leave it.
func (m *medium) boot(dirty bool, fn func(mnt string)) {
	m.t.Helper()
	switch m.kind {
	case "dm":
		now := m.merged()
		mnt, drop := systest.Mount(m.t, "ext4", "loop", now)
		fn(mnt)
		if dirty {
			systest.Run(m.t, "sync", "-f", mnt)
			systest.Must(m.t, os.WriteFile(mnt+"/late", []byte("after the sync"), 0o644))
			systest.CopyFile(m.t, now, now+".cut")
			now += ".cut"
		}
		drop()
		m.store(m.image(), now)
	case "image":
		root, drop := systest.Mount(m.t, "ext4", "loop", m.path(m.over))
		mnt, dropOverlay := systest.Mount(m.t, "overlay", "lowerdir="+m.lower()+",upperdir="+root+"/overlayfs,workdir="+root+"/ovlwork", "overlay")
		fn(mnt)
		if dirty {
			systest.Run(m.t, "sync", "-f", mnt)
			systest.CopyFile(m.t, m.path(m.over), m.path("cut"))
		}
		dropOverlay()
		drop()
		if dirty {
			systest.Must(m.t, os.Rename(m.path("cut"), m.path(m.over)))
		}
	case "dir":
		mnt, drop := systest.Mount(m.t, "overlay", "lowerdir="+m.lower()+",upperdir="+m.path(m.over)+",workdir="+m.path(m.work), "overlay")
		fn(mnt)
		drop()
	}
}

// merged gives the file system image with the COW's chunks in it, by a reader
// that knows no more than what store writes.
func (m *medium) merged() string {
	m.t.Helper()
	out := m.image()
	cow, err := os.ReadFile(m.path(m.over))
	systest.Must(m.t, err)
	if binary.LittleEndian.Uint32(cow) == 0 {
		return out
	}
	f, err := os.OpenFile(out, os.O_RDWR, 0)
	systest.Must(m.t, err)
	defer f.Close()
	for i := 0; ; i++ {
		at := 4096 * (1 + i/256*257)
		entry := cow[at+i%256*16:]
		old, now := binary.LittleEndian.Uint64(entry), binary.LittleEndian.Uint64(entry[8:])
		if now == 0 {
			return out
		}
		_, err := f.WriteAt(cow[now*4096:(now+1)*4096], int64(old)*4096)
		systest.Must(m.t, err)
	}
}

// store writes the COW that makes one image of another: chunks of 4 KiB, in
// the order of a shuffled deck, as a running system would leave them.
func (m *medium) store(from, to string) {
	m.t.Helper()
	a, err := os.ReadFile(from)
	systest.Must(m.t, err)
	b, err := os.ReadFile(to)
	systest.Must(m.t, err)
	st, err := os.Stat(m.path(m.over))
	systest.Must(m.t, err)
	cow := make([]byte, st.Size())
	for i, v := range []uint32{0x70416e53, 1, 1, 8} {
		binary.LittleEndian.PutUint32(cow[i*4:], v)
	}
	var changed []int
	for i := 0; i < len(b)/4096; i++ {
		if !bytes.Equal(a[i*4096:(i+1)*4096], b[i*4096:(i+1)*4096]) {
			changed = append(changed, i)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(changed), func(i, j int) { changed[i], changed[j] = changed[j], changed[i] })
	next := 2
	for n, i := range changed {
		if next%257 == 1 {
			next++
		}
		entry := cow[4096*(1+n/256*257)+n%256*16:]
		binary.LittleEndian.PutUint64(entry, uint64(i))
		binary.LittleEndian.PutUint64(entry[8:], uint64(next))
		copy(cow[next*4096:], b[i*4096:(i+1)*4096])
		next++
	}
	systest.Must(m.t, os.WriteFile(m.path(m.over), cow, 0o600))
}

// view gives what the kernel shows of base and overlay; the medium stays as it
// is.
func (m *medium) view() string {
	m.t.Helper()
	dir := systest.TempDir(m.t)
	c := *m
	c.dir = dir + "/LiveOS"
	systest.Run(m.t, "cp", "-a", "--sparse=always", m.dir, c.dir)
	switch m.kind {
	case "dm":
		mnt, _ := systest.Mount(m.t, "ext4", "loop", c.merged())
		return mnt
	case "image":
		root, _ := systest.Mount(m.t, "ext4", "loop", c.path(m.over))
		mnt, _ := systest.Mount(m.t, "overlay", "lowerdir="+c.lower()+",upperdir="+root+"/overlayfs,workdir="+root+"/ovlwork", "overlay")
		return mnt
	}
	mnt, _ := systest.Mount(m.t, "overlay", "lowerdir="+c.lower()+",upperdir="+c.path(m.over)+",workdir="+c.path(m.work), "overlay")
	return mnt
}

// TestLiveOS: over several rounds of use and compaction, in every form of base
// and overlay, the kernel shows of the new base what it showed of the old one
// with the overlay, and relive did so before.
func TestLiveOS(t *testing.T) {
	requireKernel(t)
	systest.NeedTools(t, "setfattr")
	seed := rand.Uint64()
	if s := os.Getenv("RELIVE_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		systest.Must(t, err)
	}
	for i, c := range []struct {
		name       string
		kind       string
		flat, bare bool
		squash     []string
		arch       bool
	}{
		{"snapshot gzip", "dm", false, false, []string{"-comp", "gzip", "-b", "128K"}, false},
		{"snapshot xz 1M", "dm", false, false, []string{"-comp", "xz", "-b", "1M"}, false},
		{"snapshot zstd 16K", "dm", false, false, []string{"-comp", "zstd", "-b", "16K"}, false},
		{"snapshot over a bare image", "dm", false, true, nil, false},
		{"image", "image", false, false, []string{"-comp", "gzip"}, false},
		{"directory", "dir", false, false, []string{"-comp", "zstd"}, false},
		{"directory over a bare image", "dir", false, true, nil, false},
		{"flat image", "image", true, false, []string{"-comp", "lz4"}, false},
		{"flat directory", "dir", true, false, []string{"-comp", "gzip", "-b", "64K"}, false},
		{"archiso snapshot", "dm", false, false, []string{"-comp", "xz"}, true},
		{"archiso directory", "dir", true, false, []string{"-comp", "zstd"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			t.Logf("RELIVE_SEED=%d", seed)
			d := systest.TempDir(t)
			write(t, d+"/usr/share/big.db", text(1, 300_000), 0o644)
			write(t, d+"/etc/hostname", []byte("live\n"), 0o644)
			h := &hand{t: t, r: rand.New(rand.NewPCG(seed, uint64(i))), root: d}
			for range 100 {
				h.act()
			}
			os.MkdirAll(d+"/usr", 0o755)
			m := liveOS(t)
			if c.arch {
				m = archiso(t, c.kind)
			}
			m.fill(d, c.kind, c.flat, c.bare, c.squash...)
			if c.arch {
				write(t, m.path("arch/x86_64/airootfs.sha512"), []byte(systest.Run(t, "sh", "-c", "cd "+m.dir+"/arch/x86_64 && sha512sum airootfs.sfs")), 0o644)
				write(t, m.path("arch/x86_64/airootfs.sfs.sig"), []byte("signature"), 0o644)
			}
			for round := range 3 {
				dirty := round == 1
				m.boot(dirty, func(mnt string) {
					h.root = mnt
					for range 60 {
						h.act()
					}
					os.MkdirAll(mnt+"/usr", 0o755) // by which dracut tells a system
				})
				m.truth(compact.Options{KeepOld: 1})
				if c.arch {
					systest.Run(t, "sh", "-c", "cd "+m.dir+"/arch/x86_64 && sha512sum -c airootfs.sha512 && ! test -e airootfs.sfs.sig")
				}
				if t.Failed() {
					t.Fatalf("in round %d", round)
				}
			}
		})
	}
}

// truth compacts the medium and compares what relive and the kernel show before
// and after.
func (m *medium) truth(o compact.Options) *compact.Result {
	m.t.Helper()
	before := m.view()
	want := without(m.t, openDir(m.t, before), "lost+found")
	sameTree(m.t, "the kernel before", "relive before", want, without(m.t, openTree(m.t, m.dir, ""), "lost+found"))
	m.diffTruth(before)
	res := m.compact(o)
	sameTree(m.t, "the kernel before", "relive after", want, without(m.t, openTree(m.t, m.dir, ""), "lost+found"))
	sameTree(m.t, "the kernel before", "the kernel after", want, without(m.t, openDir(m.t, m.view()), "lost+found"))
	s := m.status()
	if s.Overlay == nil || !s.Overlay.Empty || s.Overlay.Changes.Sum() != 0 {
		m.t.Errorf("the overlay is not empty: %+v", s.Overlay)
	}
	if !m.flat {
		systest.Fsck(m.t, m.image())
		if got := systest.Run(m.t, "dumpe2fs", "-h", m.image()); strings.Contains(got, "needs_recovery") {
			m.t.Error("the image in the new base still has a journal to be replayed")
		}
	}
	return res
}

// diffTruth compares the changes that relive lists with those that a comparison
// of all content finds.
func (m *medium) diffTruth(view string) {
	m.t.Helper()
	e := environment(m.t, 0)
	l, err := live.Open(m.t.Context(), e, m.dir)
	systest.Must(m.t, err)
	defer l.Close()
	got := map[string]bool{}
	systest.Must(m.t, changes.All(m.t.Context(), l, func(c changes.Change) error {
		got[c.Path] = true
		return nil
	}))
	want := map[string]bool{}
	o := tree.CompareOptions{WholeSeconds: m.flat}
	systest.Must(m.t, tree.Compare(m.t.Context(), l.Base.Root, l.Merged, o, func(c tree.Change) error {
		want[c.Path] = true
		return nil
	}))
	for p := range want {
		if !got[p] {
			m.t.Errorf("the change of %q is not listed", p)
		}
	}
	for p := range got {
		if !want[p] {
			m.t.Errorf("%q is listed, but did not change", p)
		}
	}
}

// TestLiveOSFlatten: a flattened base holds the files, and the overlay that goes
// with it is one that works above it.
func TestLiveOSFlatten(t *testing.T) {
	requireKernel(t)
	t.Parallel()
	d := systest.TempDir(t)
	write(t, d+"/usr/share/big.db", text(1, 300_000), 0o644)
	m := liveOS(t).fill(d, "dm", false, false, "-comp", "gzip")
	m.boot(false, func(mnt string) {
		write(t, mnt+"/etc/new", []byte("new\n"), 0o600)
		systest.Must(t, os.Remove(mnt+"/usr/share/big.db"))
	})
	want := without(t, openDir(t, m.view()), "lost+found")
	m.compact(compact.Options{KeepOld: 1, Flatten: true})
	m.flat, m.kind = true, "image"
	sameTree(t, "before", "after", want, without(t, openDir(t, m.view()), "lost+found"))
	m.boot(false, func(mnt string) { write(t, mnt+"/etc/newer", []byte("newer\n"), 0o600) })
	m.truth(compact.Options{KeepOld: 1})
	if got := readFile(t, openTree(t, m.dir, ""), "etc/newer"); got != "newer\n" {
		t.Error(got)
	}
}

// TestLiveOSRollback: the state before comes back whole, osmin.img with it.
func TestLiveOSRollback(t *testing.T) {
	requireKernel(t)
	t.Parallel()
	for _, kind := range []string{"dm", "dir", "image"} {
		t.Run(kind, func(t *testing.T) {
			d := systest.TempDir(t)
			write(t, d+"/usr/share/big.db", text(1, 300_000), 0o644)
			m := liveOS(t).fill(d, kind, false, false, "-comp", "gzip")
			write(t, m.path("osmin.img"), text(9, 5000), 0o644)
			m.boot(false, func(mnt string) { write(t, mnt+"/etc/new", []byte("new\n"), 0o600) })
			before := hashes(t, m.dir)
			m.compact(compact.Options{KeepOld: 1})
			if _, err := os.Stat(m.path("osmin.img")); err == nil {
				t.Error("osmin.img is still there, over another base")
			}
			p, err := rollback.New(t.Context(), environment(t, 0), filepath.Dir(m.dir))
			systest.Must(t, err)
			systest.Must(t, p.Run(t.Context()))
			for _, name := range strings.Fields(m.names()) {
				if strings.HasSuffix(name, ".bad") {
					systest.Must(t, os.RemoveAll(m.path(name)))
				}
			}
			if after := hashes(t, m.dir); !sameButRootTime(before, after) {
				t.Errorf("not as before:\n%s\nnow\n%s", before, after)
			}
		})
	}
}
