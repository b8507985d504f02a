package erofs

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relive/tree/hostfs"
	"relive/tree/systest"
)

// grower makes trees with all that a file system can hold.
type grower struct {
	t   testing.TB
	dir string
	rnd *rand.Rand
}

func (g *grower) path(name string) string { return filepath.Join(g.dir, name) }

func (g *grower) file(name string, b []byte) string {
	g.t.Helper()
	p := g.path(name)
	systest.Must(g.t, os.MkdirAll(filepath.Dir(p), 0o755))
	systest.Must(g.t, os.WriteFile(p, b, 0o644))
	return p
}

// bytes gives content of that length: runs of text, of bytes that do not shrink, of
// zeros, and of what earlier calls gave.
func (g *grower) bytes(pool *[]byte, size int) []byte {
	var b []byte
	for len(b) < size {
		n := 1 + g.rnd.Intn(min(size-len(b), 30000))
		switch k := g.rnd.Intn(8); {
		case k < 4:
			b = append(b, bytes.Repeat(fmt.Appendf(nil, "line %d of text that packs well\n", g.rnd.Intn(40)), n/30+1)[:n]...)
		case k < 6:
			noise := make([]byte, n)
			g.rnd.Read(noise)
			b = append(b, noise...)
		case k == 6 && len(*pool) > 0:
			at := g.rnd.Intn(len(*pool))
			b = append(b, (*pool)[at:min(at+n, len(*pool))]...)
		default:
			b = append(b, make([]byte, n)...)
		}
	}
	if len(*pool) < 1<<20 {
		*pool = append(*pool, b...)
	}
	return b
}

func (g *grower) xattr(path, name, value string) {
	g.t.Helper()
	if err := unix.Lsetxattr(path, name, []byte(value), 0); err != nil {
		g.t.Fatalf("%s: %s: %v", path, name, err)
	}
}

// randomTree makes a tree.
func randomTree(t testing.TB, seed int64) string {
	t.Helper()
	systest.NeedRoot(t)
	g := &grower{t: t, dir: systest.TempDir(t), rnd: rand.New(rand.NewSource(seed))}
	var pool []byte
	dirs := []string{"."}
	for i := range 12 + g.rnd.Intn(12) {
		name := filepath.Join(dirs[g.rnd.Intn(len(dirs))], fmt.Sprintf("dir%d%s", i, strings.Repeat("x", g.rnd.Intn(60))))
		systest.Must(t, os.MkdirAll(g.path(name), 0o755))
		dirs = append(dirs, name)
	}
	var files []string
	in := func() string { return dirs[g.rnd.Intn(len(dirs))] }
	for i := range 150 {
		size := g.rnd.Intn(300)
		switch g.rnd.Intn(6) {
		case 0:
			size = g.rnd.Intn(200000)
		case 1:
			size = 4096*(1+g.rnd.Intn(40)) + g.rnd.Intn(3) - 1
		case 2:
			size = g.rnd.Intn(9000)
		}
		name := filepath.Join(in(), fmt.Sprintf("f%d-\xff%s", i, strings.Repeat("n", g.rnd.Intn(200))))
		p := g.file(name, g.bytes(&pool, size))
		files = append(files, p)
		systest.Must(t, os.Chmod(p, os.FileMode(g.rnd.Intn(0o1000))))
		if g.rnd.Intn(4) == 0 {
			systest.Chown(t, p, uint32(g.rnd.Intn(70000)), uint32(g.rnd.Int31()))
		}
		for range g.rnd.Intn(4) {
			g.xattr(p, fmt.Sprintf("user.key%d", g.rnd.Intn(5)), strings.Repeat("v", g.rnd.Intn(300)))
		}
		if g.rnd.Intn(3) == 0 {
			g.xattr(p, "security.selinux", "system_u:object_r:usr_t:s0\x00")
		}
	}
	// Parts of files that others have, each at another place in its blocks.
	noise := make([]byte, 200000)
	g.rnd.Read(noise)
	for i := range noise {
		noise[i] = "etaoinshrdlucmfw"[noise[i]%16]
	}
	g.file("part/whole", noise)
	for i := range 8 {
		at := g.rnd.Intn(100000)
		g.file(fmt.Sprintf("part/%d", i), append(g.bytes(&pool, g.rnd.Intn(9000)), noise[at:at+20000+g.rnd.Intn(70000)]...))
	}
	g.file("big", g.bytes(&pool, 3<<20))
	g.file("repeated", bytes.Repeat([]byte("0123456789abcdef"), 1<<16))
	g.file("zeros", make([]byte, 300000))
	systest.Must(t, unix.Setxattr(g.path("big"), "system.posix_acl_access", []byte("\x02\x00\x00\x00"+
		"\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\xe8\x03\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff"+
		"\x10\x00\x04\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff"), 0))
	sparse := g.file("sparse", nil)
	systest.Must(t, os.Truncate(sparse, 2<<20))
	f, err := os.OpenFile(sparse, os.O_WRONLY, 0)
	systest.Must(t, err)
	_, err = f.WriteAt(g.bytes(&pool, 70000), 1<<20)
	systest.Must(t, err)
	systest.Must(t, f.Close())
	for i := range 20 {
		systest.Must(t, os.Link(files[g.rnd.Intn(len(files))], g.path(filepath.Join(in(), fmt.Sprintf("l%d", i)))))
	}
	for i, target := range []string{"a", strings.Repeat("long/", 819)[:4095], "bytes\xff\xfe\n", "../..", strings.Repeat("y", 60)} {
		systest.Must(t, os.Symlink(target, g.path(filepath.Join(in(), fmt.Sprintf("s%d", i)))))
	}
	for i, mode := range []uint32{unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO} {
		dev := int(unix.Mkdev(uint32(g.rnd.Intn(4096)), uint32(g.rnd.Intn(systest.LargestMinor+1))))
		systest.Must(t, unix.Mknod(g.path(fmt.Sprintf("node%d", i)), mode|0o640, dev))
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: g.path("sock"), Net: "unix"})
	systest.Must(t, err)
	l.SetUnlinkOnClose(false)
	l.Close()
	for i := range 900 {
		g.file(fmt.Sprintf("many/%d-%s", i*7919%900, strings.Repeat("n", i%40)), nil)
	}
	for i, p := range files {
		at := time.Unix(int64(g.rnd.Uint64()>>(30+i%8))-1<<30, int64(g.rnd.Intn(1e9)))
		systest.Must(t, os.Chtimes(p, at, at))
	}
	return g.dir
}

// makers are the tools that images are made with: the system's mkfs.erofs, and those
// on PATH that RELIVE_MKFS_EROFS names, separated by colons.
func makers(t testing.TB) []string {
	t.Helper()
	systest.NeedTools(t, "mkfs.erofs")
	out := []string{"mkfs.erofs"}
	if more := os.Getenv("RELIVE_MKFS_EROFS"); more != "" {
		out = append(out, strings.Split(more, ":")...)
	}
	return out
}

// Options of mkfs.erofs 1.5, and those that came later.
var (
	optionSets = []string{
		"", "-zlz4", "-zlz4hc,12", "-zlz4hc -C65536", "-zlz4hc,9 -Eztailpacking", "-zlz4hc -C16384 -Efragments",
		"-zlz4hc -C65536 -Ededupe", "-zlz4hc -Ededupe,fragments -C32768", "-zlz4 -Elegacy-compress",
		"-zlz4hc -Eztailpacking,fragments -C8192",
		"-Eforce-inode-compact -T1700000000 --all-root", "-Eforce-inode-extended -x-1", "-Enoinline_data", "-x10000",
	}
	laterSets = []string{
		"--chunksize=4096", "--chunksize=65536", "--chunksize=16384 -Eforce-chunk-indexes",
		"-zlzma,level=6 -C1048576 -Efragments", "-zlzma,109 -Eztailpacking", "-zlzma,level=6 -C1048576 -Eall-fragments,fragdedupe=inode",
		"-zzstd,8 -C65536 -Ededupe,all-fragments", "-zdeflate,9 -C65536 -Efragments,ztailpacking",
		"-zzstd,15 -C65536 -Eztailpacking,fragments,dedupe",
		"-zlzma,level=6,lc=0,lp=2,pb=0,dictsize=65536 -C65536", "-zzstd -C16384 --zD", "-b512", "-b1024 -zzstd -C16384 -Efragments",
		"-E48bit", "-E48bit -zzstd -C65536 -Efragments", "-E48bit -zlz4hc -C16384", "-zzstd:lz4hc:lzma:deflate -C16384",
		"-Exattr-name-filter --xattr-prefix=user.k -zzstd -Efragments",
	}
)

// older is what a version says of options that came later.
var older = regexp.MustCompile(`unknown extended option|unrecognized option|invalid compression option`)

// Images of random trees, made with every set of options, show what the kernel shows
// of them, and Verify finds nothing in them.
func TestKernel(t *testing.T) {
	systest.NeedFilesystems(t, "erofs")
	for i, maker := range makers(t) {
		sets := optionSets
		if i > 0 {
			sets = append(sets, laterSets...)
		}
		for k, set := range sets {
			if testing.Short() && k%3 != 0 {
				continue
			}
			t.Run(fmt.Sprintf("%d%s", i, strings.ReplaceAll(set, " ", "_")), func(t *testing.T) {
				src := randomTree(t, int64(k+1))
				image := filepath.Join(systest.MemDir(t), "image.erofs")
				if out, err := systest.Try(t, maker, append(strings.Fields(set), image, src)...); err != nil {
					if i > 0 && older.MatchString(out) {
						t.Skipf("%s: %s", maker, out) // an older one
					}
					t.Fatal(err, out)
				}
				compareWithKernel(t, image, src)
			})
		}
	}
}

// compareWithKernel mounts an image of a tree and compares. Linux 6.18 misreads some extents of LZ4 that take as many blocks as they
// have, which mkfs.erofs makes (1.8.6 with -C8192): what is in the tree is right then.
func compareWithKernel(t *testing.T, image, src string) {
	t.Helper()
	at, _ := systest.Mount(t, "erofs", "ro,loop", image)
	host, err := hostfs.Open(at)
	systest.Must(t, err)
	r := openFile(t, image)
	root := rootOf(t, r)
	got, want := manifest(t, root), manifest(t, host)
	for p, w := range want {
		if g := got[p]; w.SHA256 != g.SHA256 {
			name, err := url.PathUnescape(p)
			systest.Must(t, err)
			b, err := os.ReadFile(filepath.Join(src, name))
			systest.Must(t, err)
			if sum := fmt.Sprintf("%x", sha256.Sum256(b)); sum == g.SHA256 {
				t.Logf("the kernel misreads %s", p)
				w.SHA256 = sum
				want[p] = w
			}
		}
	}
	compareManifests(t, got, want)
	report, err := Verify(t.Context(), r, VerifyOptions{})
	systest.Must(t, err)
	for i, f := range report.Findings {
		if t.Errorf("warning %v: %v", f.Warning, f); i > 10 {
			break
		}
	}
}
