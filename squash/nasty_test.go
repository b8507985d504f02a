package squash

import (
	"bytes"
	"fmt"
	"math/rand"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"

	"golang.org/x/sys/unix"
)

// mount mounts an image read-only and gives the mount point.
func mount(t testing.TB, image string) string {
	t.Helper()
	at, _ := systest.Mount(t, "squashfs", "loop,ro", image)
	return at
}

// tenant makes what it can of a directory with everything that a file system
// can hold. It needs root.
type tenant struct {
	t   testing.TB
	dir string
	rnd *rand.Rand
}

func (n *tenant) ok(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *tenant) path(name string) string { return filepath.Join(n.dir, name) }

func (n *tenant) file(name string, b []byte) string {
	n.t.Helper()
	p := n.path(name)
	n.ok(os.MkdirAll(filepath.Dir(p), 0o755))
	n.ok(os.WriteFile(p, b, 0o644))
	return p
}

func (n *tenant) random(size int) []byte {
	b := make([]byte, size)
	n.rnd.Read(b)
	return b
}

func (n *tenant) text(size int) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("line %d of text that packs well\n", n.rnd.Int())), size/32+1)[:size]
}

// sparse writes chunks at offsets into a file of that size.
func (n *tenant) sparse(name string, size int64, chunk int, offsets ...int64) {
	n.t.Helper()
	p := n.file(name, nil)
	f, err := os.OpenFile(p, os.O_WRONLY, 0)
	n.ok(err)
	defer f.Close()
	n.ok(f.Truncate(size))
	for _, off := range offsets {
		_, err := f.WriteAt(n.random(chunk), off)
		n.ok(err)
	}
}

func (n *tenant) xattr(path, name, value string) {
	n.t.Helper()
	if err := unix.Lsetxattr(path, name, []byte(value), 0); err != nil {
		n.t.Fatalf("%s: %s: %v", path, name, err)
	}
}

// nasty makes a tree for differential tests.
func nasty(t testing.TB) string {
	t.Helper()
	systest.NeedRoot(t)
	n := &tenant{t: t, dir: t.TempDir(), rnd: rand.New(rand.NewSource(7))}

	for _, bs := range []int{4096, 65536, 131072, 1 << 20} {
		for _, d := range []int{-1, 0, 1} {
			n.file(fmt.Sprintf("sizes/random-%d%+d", bs, d), n.random(bs+d))
			n.file(fmt.Sprintf("sizes/text-%d%+d", bs, d), n.text(bs+d))
		}
	}
	for i := range 40 {
		n.file(fmt.Sprintf("sizes/small-%d", i), n.text(i*i*7))
	}
	n.file("sizes/many", append(n.random(300000), n.text(900001)...))
	n.file("sizes/zeros", make([]byte, 300000))
	n.sparse("sparse/hole", 3<<20, 0)
	n.sparse("sparse/hole-odd", 3<<20+77, 0)
	n.sparse("sparse/islands", 12<<20+5, 9000, 0, 3<<20, 7<<20+4096, 12<<20-9000)
	n.sparse("sparse/tail", 2<<20+100, 100, 2<<20)
	n.sparse("sparse/head", 4<<20, 200000, 0)

	same := n.random(200000)
	n.file("same/a", same)
	n.file("same/b", same)
	n.file("same/c", append(same[:131072:131072], 1, 2, 3))
	for _, l := range []string{"link2", "same/link3", "link4"} {
		n.ok(os.Link(n.path("same/a"), n.path(l)))
	}

	n.ok(os.Mkdir(n.path("links"), 0o1777))
	for i, target := range []string{"a", strings.Repeat("long/", 819)[:4095], "bytes\xff\xfe\n", "../..", "/"} {
		n.ok(os.Symlink(target, n.path(fmt.Sprintf("links/s%d", i))))
	}
	n.ok(os.Link(n.path("links/s1"), n.path("links/hard")))
	n.ok(unix.Lchown(n.path("links/s2"), 5, 6))

	n.ok(os.Mkdir(n.path("dev"), 0o2755))
	n.ok(unix.Mknod(n.path("dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	n.ok(unix.Mknod(n.path("dev/big"), unix.S_IFBLK|0o600, int(unix.Mkdev(4095, systest.LargestMinor))))
	n.ok(unix.Mknod(n.path("dev/odd"), unix.S_IFBLK|0o060, int(unix.Mkdev(259, 70000))))
	n.ok(unix.Mknod(n.path("dev/fifo"), unix.S_IFIFO|0o600, 0))
	n.ok(os.Link(n.path("dev/fifo"), n.path("dev/fifo2")))
	if s, err := net.Listen("unix", n.path("dev/sock")); err == nil {
		s.(*net.UnixListener).SetUnlinkOnClose(false)
		s.Close()
	}
	n.ok(unix.Mknod(n.path("dev/whiteout"), unix.S_IFCHR, 0))

	for i := 1; i < 256; i++ {
		if i != '/' && i != '.' {
			n.file("names/"+string([]byte{byte(i)}), nil)
		}
	}
	n.file("names/"+strings.Repeat("n", 255), []byte("long"))
	n.file("names/-rf * ; \n \xc3", []byte("odd"))
	n.file("names/...", nil)

	for i := range 1200 {
		p := n.file(fmt.Sprintf("many/an-entry-with-a-name-so-long-that-the-listing-fills-64-KiB-%05d-%x", i*7919%1200, i), nil)
		// More ids than a metadata block holds.
		systest.Chown(n.t, p, uint32(100000+i), 4294967294-uint32(i))
	}
	for i := range 300 {
		n.ok(os.MkdirAll(n.path(fmt.Sprintf("dirs/%d/sub", i)), 0o700))
	}
	n.ok(os.MkdirAll(n.path(strings.Repeat("deep/", 100)), 0o755))

	for i, mode := range []uint32{0, 0o7777, 0o4755, 0o2711} {
		p := n.file(fmt.Sprintf("modes/%d", i), nil)
		n.ok(unix.Chmod(p, mode))
	}
	for i, sec := range []int64{0, 1, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
		p := n.file(fmt.Sprintf("times/%d", i), []byte("x"))
		n.ok(hostfs.SetTimes(unix.AT_FDCWD, p, tree.Time{Sec: sec}))
	}

	big := string(n.text(3000))
	for i := range 12 {
		p := n.file(fmt.Sprintf("xattr/f%d", i), []byte(fmt.Sprint(i%5)))
		n.xattr(p, "user.shared", big)
		n.xattr(p, "user.empty", "")
		n.xattr(p, "trusted.t", fmt.Sprint(i/4))
		n.xattr(p, "security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	}
	for i := range 530 {
		n.xattr(n.file(fmt.Sprintf("xattr/many/%d", i), nil), "user.id", fmt.Sprint("value ", i))
	}
	for _, p := range []string{"links/s0", "links/s1", "dev/null", "dev/big", "dev/fifo", "dev/sock", "dirs/1", "many", "same/a"} {
		n.xattr(n.path(p), "trusted.on", p)
		n.xattr(n.path(p), "security.test", "same")
	}
	n.ok(os.Chtimes(n.dir, time.Unix(1234567, 0), time.Unix(1234567, 0)))
	n.ok(os.Chmod(n.dir, 0o751))
	return n.dir
}
