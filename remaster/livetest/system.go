package livetest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relive/tree"
	"relive/tree/systest"
)

// OddNames are names that a file may have and that text-minded tools trip over.
var OddNames = []string{"new\nline", `back\slash`, strings.Repeat("n", 255), "\xff\xfe raw", "sp ace", "-rf", ".wh.kept", "%41", "\u00fc",
	"..."}

// Text returns n bytes that compress, of which each seed gives others.
func Text(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, 0, n+32)
	for len(b) < n {
		b = fmt.Appendf(b, "%x a line of file %d\n", r.IntN(1<<20), seed)
	}
	return b[:n]
}

// Noise returns n bytes that do not compress.
func Noise(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, n)
	r.Read(b)
	return b
}

// Capability is a version 2 security.capability of cap_net_raw+ep.
var Capability = []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

// ACL is a POSIX ACL that lets user 1 read and execute.
var ACL = []byte{2, 0, 0, 0,
	1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 1, 0, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255,
	16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255}

// VersionText is the version file of a base.
const VersionText = "==== 0123456789abcdef0123456789abcdef\n\ntitle: Test live\ncreation date: 1 January 2024 00:00:00 UTC\nkernel: " +
	"6.1.0\nmachine: test\n"

// NewVersion is the version id of a base that an update brings.
const NewVersion = "==== 99999999999999999999999999999999"

// system makes the files of a small system in a directory: packages, logs,
// links, devices, a directory of many files, odd names.
func system(t testing.TB, root string) {
	t.Helper()
	put := func(path string, content []byte, perm os.FileMode) {
		Write(t, filepath.Join(root, path), content, perm)
	}
	put("etc/live/version/linuxfs.ver", []byte(VersionText), 0o644)
	put("etc/live/protect/other", []byte("x\n"), 0o644)
	put("etc/passwd", []byte("root:x:0:0::/root:/bin/sh\n"), 0o644)
	put("etc/shadow", []byte("root:*::\n"), 0o640)
	put("etc/hostname", []byte("live\n"), 0o644)
	put("etc/empty", nil, 0o600)
	for p := range 12 {
		for i := range 6 {
			put(fmt.Sprintf("usr/lib/pkg%d/part%d.so", p, i), Text(uint64(p*100+i), 3000+17000*i), 0o644)
		}
		put(fmt.Sprintf("usr/bin/tool%d", p), Text(uint64(5000+p), 9000*p+1), 0o755)
		put(fmt.Sprintf("usr/share/doc/pkg%d/copyright", p), Text(9000, 1800), 0o644) // one text for all
		put(fmt.Sprintf("var/lib/dpkg/info/pkg%d.list", p), Text(uint64(7000+p), 300), 0o644)
	}
	put("usr/bin/ping", Text(1, 60000), 0o755)
	systest.Must(t, unix.Lsetxattr(root+"/usr/bin/ping", "security.capability", Capability, 0))
	put("usr/bin/sudo", Text(2, 40000), 0o755)
	systest.Must(t, unix.Chmod(root+"/usr/bin/sudo", 0o4755))
	put("usr/lib/modules/noise.ko", Noise(3, 400_000), 0o644)
	put("usr/share/big.db", Text(4, 2_500_000), 0o644)
	put("var/log/syslog", Text(5, 300_001), 0o640)
	put("var/lib/dpkg/status", Text(6, 200_000), 0o644)
	put("home/demo/.profile", []byte("# demo\n"), 0o644)
	systest.Must(t, os.Chown(root+"/home/demo/.profile", 1000, 1000))
	systest.Must(t, os.Chown(root+"/home/demo", 1000, 1000))
	systest.Must(t, os.Chmod(root+"/home/demo", 0o700))
	for i := range 5000 {
		put(fmt.Sprintf("usr/share/many/%04d-%x", i, i*i), fmt.Appendf(nil, "%d\n", i), 0o644)
	}
	for _, name := range OddNames {
		put("srv/odd/"+name, []byte(name), 0o644)
	}
	systest.Must(t, os.Link(root+"/usr/bin/tool3", root+"/usr/bin/tool3-alias"))
	systest.Must(t, os.Link(root+"/usr/bin/tool3", root+"/usr/lib/tool3-too"))
	systest.Must(t, os.Symlink("usr/bin", root+"/bin"))
	systest.Must(t, os.Symlink("../../etc/passwd", root+"/usr/share/passwd"))
	systest.Must(t, os.MkdirAll(root+"/dev", 0o755))
	systest.Must(t, unix.Mknod(root+"/dev/console", unix.S_IFCHR|0o600, int(unix.Mkdev(5, 1))))
	systest.Must(t, unix.Mknod(root+"/dev/big", unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70000))))
	systest.Must(t, unix.Mkfifo(root+"/dev/initctl", 0o600))
	systest.Must(t, unix.Mknod(root+"/dev/log", unix.S_IFSOCK|0o666, 0))
	Sparse(t, root+"/var/lib/sparse.img", 3_000_000, 1_000_000)
	for _, dir := range []string{"opt/gone/deep/er", "opt/again/a/b", "opt/moved/sub", "opt/typed"} {
		for i := range 4 {
			put(fmt.Sprintf("%s/file%d", dir, i), Text(uint64(i)+40, 700*i), 0o644)
		}
	}
	systest.Must(t, os.MkdirAll(root+"/tmp", 0o755))
	systest.Must(t, os.Chmod(root+"/tmp", os.ModeSticky|0o777))
	Settle(t, root)
}

// Sparse makes a file of that size with some data at an offset only.
func Sparse(t testing.TB, path string, size, at int64) {
	t.Helper()
	systest.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	f, err := os.Create(path)
	systest.Must(t, err)
	defer f.Close()
	systest.Must(t, f.Truncate(size))
	_, err = f.WriteAt([]byte("here is data"), at)
	systest.Must(t, err)
}

// Settle returns every file of a directory a time of its own in the past, with
// nanoseconds.
func Settle(t testing.TB, root string) {
	t.Helper()
	n := int64(0)
	systest.Must(t, tree.Walk(t.Context(), OpenDir(t, root), func(path string, _ *tree.Node) error {
		n++
		ts := unix.NsecToTimespec(time.Unix(1_700_000_000+n*7, n*1001).UnixNano())
		return unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(root, path), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	}))
}

// Poke writes at an offset of a file, at its end where it is negative.
func Poke(t testing.TB, path string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	systest.Must(t, err)
	defer f.Close()
	if at < 0 {
		st, err := f.Stat()
		systest.Must(t, err)
		at = st.Size()
	}
	_, err = f.WriteAt(b, at)
	systest.Must(t, err)
}

// SystemDir returns a directory with the files of a small system, made once.
func SystemDir(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		systest.Lacks(t, "not root: device nodes cannot be made")
	}
	return Shared(t, "system", func(path string) { system(t, path) })
}

// SystemImage returns an image of the system, made once by mksquashfs.
func SystemImage(t testing.TB, args ...string) string {
	t.Helper()
	systest.NeedTools(t, "mksquashfs")
	dir := SystemDir(t)
	if len(args) == 0 {
		args = []string{"-comp", "zstd", "-b", "128K"}
	}
	return Shared(t, strings.Join(args, "_")+".sqfs", func(path string) {
		systest.Run(t, "mksquashfs", append([]string{dir, path, "-noappend", "-quiet", "-no-progress", "-processors", "2"}, args...)...)
	})
}

// Use is what people do to a running system. Where redirect is false the
// kernel refuses to rename directories of the base; mv copies them then.
func Use(t testing.TB, mnt string) {
	at := func(path string) string { return filepath.Join(mnt, path) }
	put := func(path string, content []byte, perm os.FileMode) { Write(t, at(path), content, perm) }
	// An upgrade: dpkg unpacks beside and renames over.
	for _, p := range []int{2, 5} {
		for i := range 6 {
			name := fmt.Sprintf("usr/lib/pkg%d/part%d.so", p, i)
			put(name+".dpkg-new", Text(uint64(20000+p*10+i), 4000+15000*i), 0o644)
			systest.Must(t, os.Rename(at(name+".dpkg-new"), at(name)))
		}
	}
	// An upgrade to the same bytes.
	put("usr/bin/tool7.dpkg-new", Text(5007, 63001), 0o755)
	systest.Must(t, os.Rename(at("usr/bin/tool7.dpkg-new"), at("usr/bin/tool7")))
	// An installation, with a copy of what the base has.
	put("usr/lib/newpkg/lib.so", Text(31, 150_000), 0o755)
	put("usr/lib/newpkg/copy.so", Text(5, 88_000), 0o644)
	put("usr/lib/newpkg/noise", Noise(9, 200_000), 0o644)
	// A removal.
	systest.Must(t, os.RemoveAll(at("usr/lib/pkg9")))
	systest.Must(t, os.Remove(at("usr/bin/tool9")))
	systest.Must(t, os.RemoveAll(at("opt/gone")))
	// A directory that is removed and made again is opaque.
	systest.Must(t, os.RemoveAll(at("opt/again")))
	put("opt/again/a/fresh", []byte("fresh\n"), 0o644)
	// Renames of directories.
	systest.Run(t, "mv", at("opt/moved"), at("opt/renamed"))
	systest.Must(t, os.Remove(at("opt/renamed/sub/file1")))
	put("opt/renamed/sub/more", []byte("more\n"), 0o644)
	systest.Run(t, "mv", at("usr/lib/pkg7"), at("srv/pkg7"))
	// Types replaced.
	systest.Must(t, os.RemoveAll(at("opt/typed")))
	put("opt/typed", []byte("a file now\n"), 0o644)
	systest.Must(t, os.Remove(at("etc/hostname")))
	put("etc/hostname/inside", []byte("a directory now\n"), 0o644)
	systest.Must(t, os.Remove(at("usr/share/passwd")))
	systest.Must(t, os.Symlink("../../etc/shadow", at("usr/share/passwd")))
	systest.Must(t, os.Remove(at("etc/empty")))
	systest.Must(t, unix.Mkfifo(at("etc/empty"), 0o622))
	// Metadata only.
	systest.Must(t, os.Chmod(at("usr/share/big.db"), 0o600))
	systest.Must(t, os.Chown(at("usr/lib/modules/noise.ko"), 33, 70000))
	systest.Must(t, os.Chmod(at("usr/share/doc"), 0o700))
	systest.Must(t, unix.Lsetxattr(at("usr/bin/tool11"), "security.capability", Capability, 0))
	systest.Must(t, unix.Lsetxattr(at("usr/bin/tool10"), "user.note", []byte("a\x00b"), 0))
	systest.Must(t, unix.Lsetxattr(at("usr/bin/tool8"), "trusted.note", []byte{}, 0))
	// The kernel sets ACLs on what is in the upper layer only.
	systest.Must(t, os.Chmod(at("home/demo"), 0o750))
	systest.Must(t, os.Chmod(at("etc/shadow"), 0o600))
	systest.Must(t, unix.Lsetxattr(at("home/demo"), "system.posix_acl_access", ACL, 0))
	systest.Must(t, unix.Lsetxattr(at("etc/shadow"), "system.posix_acl_access", ACL, 0))
	// Logs grow, databases change in the middle, files are cut short.
	Poke(t, at("var/log/syslog"), -1, Text(50, 70_000))
	Poke(t, at("var/lib/dpkg/status"), 100_000, []byte("Status: changed\n"))
	systest.Must(t, os.Truncate(at("usr/bin/tool6"), 1000))
	Sparse(t, at("var/lib/new-sparse.img"), 5_000_000, 4_000_000)
	Poke(t, at("var/lib/sparse.img"), 2_000_000, []byte("more data"))
	// Links, new and of old files.
	systest.Must(t, os.Link(at("usr/lib/newpkg/lib.so"), at("usr/lib/newpkg/lib.so.1")))
	systest.Must(t, os.Link(at("usr/lib/newpkg/lib.so"), at("srv/lib.so.2")))
	systest.Must(t, os.Link(at("usr/bin/tool1"), at("usr/bin/tool1-link")))
	systest.Must(t, os.Chmod(at("usr/bin/tool3"), 0o700)) // one of three names in the base
	systest.Must(t, os.Symlink(strings.Repeat("long/", 190), at("srv/long")))
	// Devices and their like.
	systest.Must(t, os.MkdirAll(at("srv/dev"), 0o755))
	systest.Must(t, unix.Mknod(at("srv/dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	systest.Must(t, unix.Mknod(at("srv/dev/sda"), unix.S_IFBLK|0o660, int(unix.Mkdev(8, 300))))
	systest.Must(t, unix.Mkfifo(at("srv/dev/pipe"), 0o644))
	systest.Must(t, unix.Mknod(at("srv/dev/sock"), unix.S_IFSOCK|0o777, 0))
	// Odd names: one gone, one changed, all new elsewhere.
	systest.Must(t, os.Remove(at("srv/odd/"+OddNames[0])))
	systest.Must(t, os.Chmod(at("srv/odd/"+OddNames[3]), 0o600))
	for _, name := range OddNames {
		put("srv/odder/"+name, []byte(name), 0o644)
		put("srv/odder.d/"+name, []byte(name), 0o644)
	}
	// Many files.
	for i := 0; i < 5000; i += 50 {
		systest.Must(t, os.Remove(at(fmt.Sprintf("usr/share/many/%04d-%x", i, i*i))))
	}
	for i := range 1500 {
		put(fmt.Sprintf("var/cache/many/%05d", i), fmt.Appendf(nil, "entry %d\n", i), 0o644)
	}
	// What no merged image may hold.
	put("etc/live/protect/remaster", nil, 0o644)
	// Times that SquashFS cannot hold.
	put("srv/early", []byte("1965\n"), 0o644)
	early := []unix.Timespec{{Sec: -150_000_000}, {Sec: -150_000_000, Nsec: 5}}
	systest.Must(t, unix.UtimesNanoAt(unix.AT_FDCWD, at("srv/early"), early, 0))
}

// SmallSystem fills a directory with a few files.
func SmallSystem(t testing.TB, d string) {
	t.Helper()
	Write(t, d+"/usr/share/big.db", Text(1, 300_000), 0o644)
	Write(t, d+"/usr/share/deep/a/b/c", Text(2, 9_000), 0o644)
	Write(t, d+"/opt/tool", Text(3, 5_000), 0o755)
	Write(t, d+"/opt/gone", Noise(4, 90_000), 0o644)
	Write(t, d+"/etc/hostname", []byte("live\n"), 0o644)
	Write(t, d+"/var/lib/dpkg/status", Text(6, 2_000), 0o644)
	Write(t, d+"/etc/live/version/linuxfs.ver", []byte(VersionText), 0o644)
}

// UseSmall changes a running small system.
func UseSmall(t testing.TB, mnt string) {
	t.Helper()
	Write(t, mnt+"/etc/new", []byte("new\n"), 0o600)
	systest.Must(t, os.Remove(mnt+"/opt/gone"))
	systest.Must(t, os.Chmod(mnt+"/usr/share/big.db", 0o600))
	systest.Must(t, os.Chown(mnt+"/opt/tool", 1, 2))
	systest.Must(t, os.RemoveAll(mnt+"/usr/share/deep/a"))
	Write(t, mnt+"/usr/share/deep/a/again", Text(9, 3_000), 0o644)
	Write(t, mnt+"/etc/hostname", []byte("named\n"), 0o644)
}
