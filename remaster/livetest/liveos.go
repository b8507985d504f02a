package livetest

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"relive/codec"
	"relive/remaster/live"
	"relive/remaster/packed"
	"relive/tree"
	"relive/tree/systest"
)

// Medium is a LiveOS medium; its live directory is dir.
type Medium struct {
	Live
	Flat bool   // the base holds the system itself
	bare bool   // the base is an ext image, not compressed
	Kind string // of the overlay: "dm", "image" or "dir"
	// Where things are, relative to dir, the image relative to the base.
	Base, inner, Over, Work string
}

// LiveOS lays a medium out as Fedora does.
func LiveOS(t testing.TB) *Medium {
	m := &Medium{Live: Live{T: t, Dir: systest.TempDir(t) + "/LiveOS"}, Base: "squashfs.img", inner: "LiveOS/rootfs.img",
		Over: "overlay-LIVE-12AB-34CD", Work: "ovlwork"}
	systest.Must(t, os.Mkdir(m.Dir, 0o755))
	return m
}

// Archiso lays a medium out as Arch Linux does.
func Archiso(t testing.TB, kind string) *Medium {
	m := &Medium{Live: Live{T: t, Dir: systest.TempDir(t)}, Base: "arch/x86_64/airootfs.sfs", inner: "airootfs.img",
		Over: "persistent_ARCH/x86_64/upperdir", Work: "persistent_ARCH/x86_64/workdir"}
	if kind == "dm" {
		m.Over = "persistent_ARCH/x86_64/airootfs.cow"
	}
	for _, d := range []string{"arch/x86_64", "persistent_ARCH/x86_64"} {
		systest.Must(t, os.MkdirAll(m.Path(d), 0o755))
	}
	return m
}

// Fill makes a base of a system, and an empty overlay.
func (m *Medium) Fill(system, kind string, flat, bare bool, squash ...string) *Medium {
	t := m.T
	t.Helper()
	m.Flat, m.bare, m.Kind = flat, bare, kind
	from := system
	if !flat {
		from = systest.TempDir(t)
		image := filepath.Join(from, m.inner)
		systest.Must(t, os.MkdirAll(filepath.Dir(image), 0o755))
		if bare {
			image = m.Path("rootfs.img")
		}
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "Anaconda", "-d", system, image, "96M")
	}
	switch {
	case bare:
	case len(squash) > 0 && squash[0] == string(packed.EROFS):
		writeErofs(t, m.Path(m.Base), from, squash[1])
	default:
		systest.Run(t, "mksquashfs", append([]string{from, m.Path(m.Base), "-noappend", "-quiet", "-no-progress"}, squash...)...)
	}
	at := m.Path(m.Over)
	switch kind {
	case "dm":
		Write(t, at, make([]byte, 24<<20), 0o600)
	case "image":
		d := systest.TempDir(t)
		systest.Must(t, os.Mkdir(d+"/overlayfs", 0o755))
		systest.Must(t, os.Mkdir(d+"/ovlwork", 0o755))
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", d, at, "32M")
	case "dir":
		systest.Must(t, os.Mkdir(at, 0o755))
		systest.Must(t, os.Mkdir(m.Path(m.Work), 0o755))
		systest.Run(t, "setfattr", "-n", "security.selinux", "-v", "system_u:object_r:root_t:s0", at)
	}
	return m
}

// writeErofs makes an EROFS image of a directory with that codec. Debian 12's mkfs.erofs
// stops at names as these tests have them.
func writeErofs(t testing.TB, path, from, codecName string) {
	t.Helper()
	e := Env(t, codec.Auto)
	o, err := packed.Options(nil, packed.Wish{Format: packed.EROFS, Codec: codecName, BlockSize: 64 << 10}, e.Library)
	systest.Must(t, err)
	p, err := packed.NewPlan(t.Context(), OpenDir(t, from), o)
	systest.Must(t, err)
	f, err := os.Create(path)
	systest.Must(t, err)
	defer f.Close()
	_, _, err = p.Write(t.Context(), f, 0)
	systest.Must(t, err)
}

// packedKind is the kernel's name for what a compressed image holds.
func packedKind(t testing.TB, path string) string {
	t.Helper()
	res, err := live.ProbeFile(live.Host{}, path)
	systest.Must(t, err)
	return string(res.Kind)
}

// Image extracts the file system image.
func (m *Medium) Image() string {
	m.T.Helper()
	out := systest.TempDir(m.T) + "/rootfs.img"
	if m.bare {
		systest.CopyFile(m.T, m.Path("rootfs.img"), out)
		return out
	}
	mnt, drop := systest.Mount(m.T, packedKind(m.T, m.Path(m.Base)), "loop,ro", m.Path(m.Base))
	systest.CopyFile(m.T, filepath.Join(mnt, m.inner), out)
	drop()
	return out
}

// lower mounts the base's system.
func (m *Medium) lower() string {
	m.T.Helper()
	if m.Flat {
		// A copy, since a mounted base is not replaced.
		base := systest.TempDir(m.T) + "/base"
		systest.CopyFile(m.T, m.Path(m.Base), base)
		mnt, _ := systest.Mount(m.T, packedKind(m.T, base), "loop,ro", base)
		return mnt
	}
	mnt, _ := systest.Mount(m.T, "ext4", "loop,ro,noload", m.Image())
	return mnt
}

// Boot runs fn in the system as the kernel shows it, and keeps what it writes
// in the overlay. With dirty, a file system below is left as a power cut would
// leave it.
func (m *Medium) Boot(dirty bool, fn func(mnt string)) {
	m.T.Helper()
	switch m.Kind {
	case "dm":
		now := m.Merged()
		mnt, drop := systest.Mount(m.T, "ext4", "loop", now)
		fn(mnt)
		if dirty {
			systest.Run(m.T, "sync", "-f", mnt)
			systest.Must(m.T, os.WriteFile(mnt+"/late", []byte("after the sync"), 0o644))
			systest.CopyFile(m.T, now, now+".cut")
			now += ".cut"
		}
		drop()
		m.Store(m.Image(), now)
	case "image":
		root, drop := systest.Mount(m.T, "ext4", "loop", m.Path(m.Over))
		mnt, dropOverlay := systest.Mount(m.T, "overlay", "lowerdir="+m.lower()+",upperdir="+root+"/overlayfs,workdir="+root+"/ovlwork",
			"overlay")
		fn(mnt)
		if dirty {
			systest.Run(m.T, "sync", "-f", mnt)
			systest.CopyFile(m.T, m.Path(m.Over), m.Path("cut"))
		}
		dropOverlay()
		drop()
		if dirty {
			systest.Must(m.T, os.Rename(m.Path("cut"), m.Path(m.Over)))
		}
	case "dir":
		mnt, drop := systest.Mount(m.T, "overlay", "lowerdir="+m.lower()+",upperdir="+m.Path(m.Over)+",workdir="+m.Path(m.Work), "overlay")
		fn(mnt)
		drop()
	}
}

// Merged returns the file system image with the COW's chunks in it, by a reader
// that knows no more than what store writes.
func (m *Medium) Merged() string {
	m.T.Helper()
	out := m.Image()
	cow, err := os.ReadFile(m.Path(m.Over))
	systest.Must(m.T, err)
	if binary.LittleEndian.Uint32(cow) == 0 {
		return out
	}
	f, err := os.OpenFile(out, os.O_RDWR, 0)
	systest.Must(m.T, err)
	defer f.Close()
	for i := 0; ; i++ {
		at := 4096 * (1 + i/256*257)
		entry := cow[at+i%256*16:]
		old, now := binary.LittleEndian.Uint64(entry), binary.LittleEndian.Uint64(entry[8:])
		if now == 0 {
			return out
		}
		_, err := f.WriteAt(cow[now*4096:(now+1)*4096], int64(old)*4096)
		systest.Must(m.T, err)
	}
}

// Store writes the COW that makes one image of another: chunks of 4 KiB, in
// the order of a shuffled deck, as a running system would leave them.
func (m *Medium) Store(from, to string) {
	m.T.Helper()
	a, err := os.ReadFile(from)
	systest.Must(m.T, err)
	b, err := os.ReadFile(to)
	systest.Must(m.T, err)
	st, err := os.Stat(m.Path(m.Over))
	systest.Must(m.T, err)
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
	systest.Must(m.T, os.WriteFile(m.Path(m.Over), cow, 0o600))
}

// View returns what the kernel shows of base and overlay; the medium stays as it
// is.
func (m *Medium) View() string {
	m.T.Helper()
	dir := systest.TempDir(m.T)
	c := *m
	c.Dir = dir + "/LiveOS"
	systest.Run(m.T, "cp", "-a", "--sparse=always", m.Dir, c.Dir)
	switch m.Kind {
	case "dm":
		mnt, _ := systest.Mount(m.T, "ext4", "loop", c.Merged())
		return mnt
	case "image":
		root, _ := systest.Mount(m.T, "ext4", "loop", c.Path(m.Over))
		mnt, _ := systest.Mount(m.T, "overlay", "lowerdir="+c.lower()+",upperdir="+root+"/overlayfs,workdir="+root+"/ovlwork", "overlay")
		return mnt
	}
	mnt, _ := systest.Mount(m.T, "overlay", "lowerdir="+c.lower()+",upperdir="+c.Path(m.Over)+",workdir="+c.Path(m.Work), "overlay")
	return mnt
}

// laid mounts base and overlay directory as m.options say.
func (m *Medium) laid() (mnt string, drop func()) {
	m.T.Helper()
	o := "lowerdir=" + m.lower() + ",upperdir=" + m.Path(m.Over) + ",workdir=" + m.Path(m.Work)
	if m.Options != "" {
		o += "," + m.Options
	}
	return systest.Mount(m.T, "overlay", o, "overlay")
}

// Use is boot with m.options, of an overlay directory.
func (m *Medium) Use(dirty bool, fn func(mnt string)) {
	m.T.Helper()
	if m.Kind != "dir" {
		m.Boot(dirty, fn)
		return
	}
	mnt, drop := m.laid()
	fn(mnt)
	drop()
}

// Seen is what the kernel shows, which a later change does not alter.
func (m *Medium) Seen() *tree.Node {
	m.T.Helper()
	if m.Kind != "dir" {
		return Copied(m.T, m.View())
	}
	mnt, drop := m.laid()
	defer drop()
	return Copied(m.T, mnt)
}

// COWOf returns the COW that makes one image of another.
func COWOf(from, to []byte, chunk, size int) []byte {
	cow := make([]byte, size)
	for i, v := range []uint32{0x70416e53, 1, 1, uint32(chunk / 512)} {
		binary.LittleEndian.PutUint32(cow[i*4:], v)
	}
	var changed []int
	for i := 0; i*chunk < len(to); i++ {
		if end := min((i+1)*chunk, len(to)); !bytes.Equal(from[i*chunk:end], to[i*chunk:end]) {
			changed = append(changed, i)
		}
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(changed), func(i, j int) { changed[i], changed[j] = changed[j], changed[i] })
	each := chunk / 16
	next := 2
	for n, i := range changed {
		if next%(each+1) == 1 {
			next++
		}
		entry := cow[chunk*(1+n/each*(each+1))+n%each*16:]
		binary.LittleEndian.PutUint64(entry, uint64(i))
		binary.LittleEndian.PutUint64(entry[8:], uint64(next))
		copy(cow[next*chunk:], to[i*chunk:min((i+1)*chunk, len(to))])
		next++
	}
	return cow
}
