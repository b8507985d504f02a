package livetest

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"relive/tree"
	"relive/tree/systest"
)

// HomesSystem is a small system with homes in it.
func HomesSystem(t testing.TB, d string) {
	SmallSystem(t, d)
	Write(t, d+"/etc/passwd", []byte("root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n"), 0o644)
	Write(t, d+"/home/anna/notes", Text(90, 3_000), 0o600)
	Write(t, d+"/home/anna/.cache/a/b", Text(91, 50_000), 0o644)
	Write(t, d+"/home/anna/.config/app/settings", Text(92, 800), 0o644)
	Write(t, d+"/home/anna/dir/file", Text(93, 800), 0o644)
	Write(t, d+"/home/guest/letter", Text(94, 70_000), 0o644)
	systest.Must(t, os.Chown(d+"/home/anna", 1000, 1000))
}

// UseHomes does to homes what people do, and what only a test does.
func UseHomes(t testing.TB, d string) {
	t.Helper()
	Write(t, d+"/anna/notes", Text(95, 4_000), 0o600)
	systest.Must(t, os.RemoveAll(d+"/anna/.cache"))
	Write(t, d+"/anna/.cache/other", Text(96, 9_000), 0o644)
	systest.Must(t, os.RemoveAll(d+"/anna/.config/app"))
	Write(t, d+"/anna/.config/app", []byte("a file now"), 0o644)
	systest.Must(t, os.RemoveAll(d+"/anna/dir/file"))
	Write(t, d+"/anna/dir/file/inside", []byte("a directory now"), 0o644)
	Write(t, d+"/anna/bin/tool", Text(97, 20_000), 0o755)
	systest.Must(t, unix.Lsetxattr(d+"/anna/bin/tool", "security.capability", Capability, 0))
	systest.Must(t, unix.Lsetxattr(d+"/anna/bin", "system.posix_acl_access", ACL, 0))
	systest.Must(t, unix.Lsetxattr(d+"/anna/notes", "user.note", []byte("a\x00b"), 0))
	systest.Must(t, os.Link(d+"/anna/bin/tool", d+"/anna/bin/tool2"))
	Sparse(t, d+"/anna/disk.img", 5_000_000, 4_000_000)
	Write(t, d+"/berta/new", Text(98, 5_000), 0o644)
	Write(t, d+"/berta/"+OddNames[1], []byte("odd"), 0o644)
	systest.Must(t, os.Symlink("../anna/notes", d+"/berta/link"))
	systest.Must(t, unix.Mkfifo(d+"/berta/pipe", 0o600))
	systest.Must(t, os.Lchown(d+"/berta", 1001, 1001))
	systest.Must(t, os.Chmod(d, 0o711))
}

// InHomes makes the image of homes at a path where there is none, and runs fn
// with it mounted.
func InHomes(t testing.TB, image, like string, fn func(mnt string)) {
	t.Helper()
	if !Has(image) {
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-I", "256", "-L", "homefs", image, "20M")
		mnt, drop := systest.Mount(t, "ext4", "loop", image)
		if like != "" {
			systest.Run(t, "cp", "-a", like+"/.", mnt+"/")
		}
		drop()
	}
	mnt, drop := systest.Mount(t, "ext4", "loop", image)
	defer drop()
	fn(mnt)
}

// WithHomes is a copy of what the kernel shows with the homes mounted over.
func WithHomes(t testing.TB, s *Form, image string) *tree.Node {
	t.Helper()
	at := s.View()
	c := systest.TempDir(t) + "/homes"
	systest.CopyFile(t, image, c)
	mnt, drop := systest.Mount(t, "ext4", "loop", c)
	defer drop()
	shown := Duplicate(t, at)
	systest.Must(t, os.RemoveAll(shown+"/home"))
	systest.Run(t, "cp", "-a", mnt, shown+"/home")
	systest.Run(t, "touch", "-r", at, shown)
	return OpenDir(t, shown)
}
