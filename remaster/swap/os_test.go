package swap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relive/tree/systest"
)

// mortalFS is the host's file system, that of a process that dies: from one
// operation on nothing more happens. It can lack what FAT and exFAT lack.
type mortalFS struct {
	OS
	feat features
	ops  int
	dies int
}

func (m *mortalFS) step(name string) error {
	m.ops++
	if m.dies > 0 && m.ops >= m.dies {
		return errCrash
	}
	return nil
}

func (m *mortalFS) WriteFile(p string, b []byte) error {
	if err := m.step("write"); err != nil {
		return err
	}
	return m.OS.WriteFile(p, b)
}

func (m *mortalFS) CopyFile(a, b string) error {
	if err := m.step("copy"); err != nil {
		return err
	}
	return m.OS.CopyFile(a, b)
}

func (m *mortalFS) Rename(a, b string) error {
	if err := m.step("rename"); err != nil {
		return err
	}
	return m.OS.Rename(a, b)
}

func (m *mortalFS) Exchange(a, b string) error {
	if !m.feat.exchange {
		return ErrNoSupport
	}
	if err := m.step("exchange"); err != nil {
		return err
	}
	return m.OS.Exchange(a, b)
}

func (m *mortalFS) Link(a, b string) error {
	if !m.feat.link {
		return ErrNoSupport
	}
	if err := m.step("link"); err != nil {
		return err
	}
	return m.OS.Link(a, b)
}

func (m *mortalFS) Remove(p string) error {
	if err := m.step("remove"); err != nil {
		return err
	}
	return m.OS.Remove(p)
}

func (m *mortalFS) Sync(p string) error {
	if err := m.step("sync"); err != nil {
		return err
	}
	return m.OS.Sync(p)
}

func (m *mortalFS) SyncDir(p string) error {
	if err := m.step("syncdir"); err != nil {
		return err
	}
	return m.OS.SyncDir(p)
}

// onDisk makes the live directory of the tests on the host's disk.
func onDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, pass := range []string{"dir", ""} {
		for name, data := range before {
			p := filepath.Join(dir, name)
			var err error
			if target, isLink := strings.CutPrefix(data, "-> "); data == "dir" {
				if pass == "dir" {
					err = os.MkdirAll(p, 0o755)
				}
			} else if pass == "dir" {
				continue
			} else if isLink {
				err = os.Symlink(target, p)
			} else {
				err = os.WriteFile(p, []byte(data), 0o640)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func listDisk(t *testing.T, dir string) map[string]string {
	t.Helper()
	l := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		switch {
		case d.IsDir():
			l[rel] = "dir"
		case d.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(p)
			l[rel] = "-> " + target
			return err
		default:
			b, err := os.ReadFile(p)
			l[rel] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// compactDisk is compact on the host's disk.
func compactDisk(fsys FS, dir string) error {
	txn, err := Begin(fsys, dir, Info{Verb: "compact"})
	if err != nil {
		return err
	}
	// A process that dies does not abort; the lock goes with it.
	defer txn.lock.Close()
	for name, data := range map[string]string{"linuxfs": "base 3 with the changes", "linuxfs.md5": "md5 of base 3",
		"linuxfs.info": "info 3", "rootfs": "empty"} {
		p, err := txn.Temp(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
			return err
		}
	}
	p, err := txn.Temp("conf")
	if err != nil {
		return err
	}
	if err := os.Mkdir(p, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(p+"/x", []byte("new x"), 0o644); err != nil {
		return err
	}
	txn.Plan(
		Remove{"linuxfs.bad"}, Move{"linuxfs.old", "linuxfs.old.2"}, Copy{"state", "state.old"},
		Replace{"linuxfs.relive-tmp", "linuxfs", "linuxfs.old"}, Replace{"linuxfs.md5.relive-tmp", "linuxfs.md5", "linuxfs.md5.old"},
		Replace{"linuxfs.info.relive-tmp", "linuxfs.info", ""}, Replace{"conf.relive-tmp", "conf", ""}, Remove{"junk"},
		Replace{"rootfs.relive-tmp", "rootfs", "rootfs.old"})
	return txn.Commit(context.Background())
}

// TestOnDisk kills the run at each of its operations on a real file system.
func TestOnDisk(t *testing.T) {
	t.Parallel()
	first := 0
	for name, feat := range map[string]features{"links": {link: true, exchange: true}, "exchange": {exchange: true}, "neither": {}} {
		t.Run(name, func(t *testing.T) {
			ends := map[bool]int{}
			first++
			for k := first; ; k += 3 { // syncing a disk takes its time
				dir := onDisk(t)
				err := compactDisk(&mortalFS{feat: feat, dies: k}, dir)
				if err != nil && !errors.Is(err, errCrash) {
					t.Fatalf("killed at operation %d: %v", k, err)
				}
				if _, rerr := Recover(context.Background(), &mortalFS{feat: feat}, dir); rerr != nil {
					t.Fatalf("killed at operation %d: %v", k, rerr)
				}
				l := listDisk(t, dir)
				if !maps.Equal(l, before) && !maps.Equal(l, after()) {
					t.Fatalf("killed at operation %d: %v", k, l)
				}
				ends[maps.Equal(l, after())]++
				os.RemoveAll(dir)
				if err == nil {
					break
				}
			}
			if ends[true] < 2 || ends[false] < 2 {
				t.Errorf("ends: %v", ends)
			}
		})
	}
}

// TestOSKeeps: the former file itself lives on, mode, time and holes of copies
// are kept, the lock is held against another descriptor.
func TestOSKeeps(t *testing.T) {
	dir := t.TempDir()
	base := filepath.Join(dir, "linuxfs")
	if err := os.WriteFile(base, bytes.Repeat([]byte("old"), 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	sparse := filepath.Join(dir, "rootfs")
	if err := os.WriteFile(sparse, []byte("head"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(sparse, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("middle"), 20<<20); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(64<<20), f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	when := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	if err := errors.Join(os.Chmod(sparse, 0o604), os.Chtimes(sparse, when, when)); err != nil {
		t.Fatal(err)
	}
	var was, now unix.Stat_t
	if err := unix.Stat(base, &was); err != nil {
		t.Fatal(err)
	}
	txn, err := Begin(OS{}, dir, Info{Verb: "test", Started: when})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Begin(OS{}, dir, Info{}); !errors.Is(err, ErrBusy) {
		t.Errorf("a second Begin: %v", err)
	}
	if said, err := Inspect(OS{}, dir); err != nil || !said.Running {
		t.Errorf("%v, %v", said, err)
	}
	p, err := txn.Temp("linuxfs")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, bytes.Repeat([]byte("new"), 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	txn.Plan(Replace{txn.Name(p), "linuxfs", "linuxfs.old"}, Copy{"rootfs", "rootfs.copy"})
	if err := txn.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := txn.Abort(); err != nil {
		t.Errorf("Abort after Commit: %v", err)
	}
	if err := unix.Stat(base+".old", &now); err != nil || now.Ino != was.Ino || now.Nlink != 1 {
		t.Errorf("linuxfs.old is not the former file: %v, %d links", err, now.Nlink)
	}
	a, err := os.ReadFile(sparse)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(sparse + ".copy")
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("the copy differs: %v", err)
	}
	if err := unix.Stat(sparse+".copy", &now); err != nil || now.Mode&0o7777 != 0o604 || now.Mtim.Nano() != when.UnixNano() ||
		now.Blocks*512 > 1<<20 {
		t.Errorf("the copy: mode %o, time %d, %d bytes on disk, %v", now.Mode, now.Mtim.Sec, now.Blocks*512, err)
	}
	names, err := OS{}.ReadDir(dir)
	if err != nil || fmt.Sprint(names) != "[linuxfs linuxfs.old rootfs rootfs.copy]" {
		t.Errorf("%v, %v", names, err)
	}
}

// TestOSRefusesMounts: what is mounted is neither replaced nor removed.
func TestOSRefusesMounts(t *testing.T) {
	systest.NeedRoot(t)
	dir := onDisk(t)
	precious := t.TempDir()
	if err := os.WriteFile(filepath.Join(precious, "x"), []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "junk", "bound"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, m := range [][2]string{{precious, "junk/bound"}, {filepath.Join(precious, "x"), "homefs"}} {
		systest.MountAt(t, "", "bind", m[0], filepath.Join(dir, m[1]))
	}
	for _, s := range []Step{Remove{"junk"}, Remove{"homefs"}, Move{"homefs", "h"}, Replace{"linuxfs", "homefs", "h"},
		Move{"linuxfs", "junk/bound/linuxfs"}} {
		txn, err := Begin(OS{}, dir, Info{})
		if err != nil {
			t.Fatal(err)
		}
		txn.Plan(s)
		if err := txn.Commit(context.Background()); !errors.Is(err, ErrPlan) {
			t.Errorf("%v: %v", s, err)
		}
		if err := txn.Abort(); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeAll(OS{}, filepath.Join(dir, "junk")); err == nil {
		t.Error("removed through a mount")
	}
	if b, err := os.ReadFile(filepath.Join(precious, "x")); err != nil || string(b) != "precious" {
		t.Error("what was bound is lost")
	}
}

// TestOSErrors: a full disk and a read-only one say so.
func TestOSErrors(t *testing.T) {
	dir, _ := systest.Mount(t, "tmpfs", "size=64k", "none")
	if err := os.WriteFile(dir+"/linuxfs", make([]byte, 20<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	txn, err := Begin(OS{}, dir, Info{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/fill", make([]byte, 24<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	txn.Plan(Copy{"linuxfs", "copy"})
	if err := txn.Commit(context.Background()); !errors.Is(err, unix.ENOSPC) || errors.Is(err, ErrUnfinished) {
		t.Errorf("a full disk: %v", err)
	}
	if err := txn.Abort(); err != nil {
		t.Fatal(err)
	}
	if names, _ := (OS{}).ReadDir(dir); fmt.Sprint(names) != "[fill linuxfs]" {
		t.Errorf("left: %v", names)
	}
	systest.Run(t, "mount", "-o", "remount,ro", dir)
	if _, err := Begin(OS{}, dir, Info{}); !errors.Is(err, unix.EROFS) {
		t.Errorf("a read-only disk: %v", err)
	}
	if st, err := Inspect(OS{}, dir); st != nil || err != nil {
		t.Errorf("Inspect of a read-only disk: %v, %v", st, err)
	}
	if out, err := Recover(context.Background(), OS{}, dir); out != nil || err != nil {
		t.Errorf("Recover of a read-only disk: %v, %v", out, err)
	}
}

// TestOSTells: what each operation says of a name that is not there, and of one
// that it must not follow or replace; and what is made is nobody else's before
// SetMeta opens it.
func TestOSTells(t *testing.T) {
	dir := t.TempDir()
	none, file, link, sub := dir+"/none", dir+"/file", dir+"/link", dir+"/sub"
	if err := errors.Join(os.WriteFile(file, []byte("text"), 0o666), os.Symlink("file", link), os.Mkdir(sub, 0o755)); err != nil {
		t.Fatal(err)
	}
	o := OS{}
	closed := func(c io.Closer, err error) error {
		if err == nil {
			c.Close()
		}
		return err
	}
	for _, c := range []struct {
		what string
		do   func() error
		want error
	}{
		{"Lstat", func() error { _, err := o.Lstat(none); return err }, fs.ErrNotExist},
		{"ReadDir", func() error { _, err := o.ReadDir(none); return err }, fs.ErrNotExist},
		{"Readlink", func() error { _, err := o.Readlink(none); return err }, fs.ErrNotExist},
		{"Open", func() error { f, err := o.Open(none); return closed(f, err) }, fs.ErrNotExist},
		{"WriteFile", func() error { return o.WriteFile(none+"/x", nil) }, fs.ErrNotExist},
		{"CopyFile", func() error { return o.CopyFile(none, sub+"/x") }, fs.ErrNotExist},
		{"CopyFile to", func() error { return o.CopyFile(file, none+"/x") }, fs.ErrNotExist},
		{"Mkdir", func() error { return o.Mkdir(none + "/x") }, fs.ErrNotExist},
		{"Symlink", func() error { return o.Symlink("x", none+"/x") }, fs.ErrNotExist},
		{"SetMeta", func() error { return o.SetMeta(none, FileInfo{}) }, fs.ErrNotExist},
		{"Rename", func() error { return o.Rename(none, sub+"/x") }, fs.ErrNotExist},
		{"Exchange", func() error { return o.Exchange(none, file) }, fs.ErrNotExist},
		{"Link", func() error { return o.Link(none, sub+"/x") }, fs.ErrNotExist},
		{"Remove", func() error { return o.Remove(none) }, fs.ErrNotExist},
		{"Sync", func() error { return o.Sync(none) }, fs.ErrNotExist},
		{"SyncDir", func() error { return o.SyncDir(none) }, fs.ErrNotExist},
		{"Lock", func() error { l, err := o.Lock(none); return closed(l, err) }, fs.ErrNotExist},
		{"Open of a symlink", func() error { f, err := o.Open(link); return closed(f, err) }, unix.ELOOP},
		{"WriteFile to a symlink", func() error { return o.WriteFile(link, nil) }, unix.ELOOP},
		{"CopyFile of a symlink", func() error { return o.CopyFile(link, sub+"/x") }, unix.ELOOP},
		{"Sync of a symlink", func() error { return o.Sync(link) }, unix.ELOOP},
		{"CopyFile over a file", func() error { return o.CopyFile(file, link) }, fs.ErrExist},
		{"Mkdir over a file", func() error { return o.Mkdir(file) }, fs.ErrExist},
		{"Symlink over a file", func() error { return o.Symlink("x", file) }, fs.ErrExist},
		{"Link over a file", func() error { return o.Link(file, link) }, fs.ErrExist},
		{"SyncDir of a file", func() error { return o.SyncDir(file) }, unix.ENOTDIR},
		{"Lock of a file", func() error { l, err := o.Lock(file); return closed(l, err) }, unix.ENOTDIR},
	} {
		if err := c.do(); !errors.Is(err, c.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v, want %v and the name", c.what, err, c.want)
		}
	}
	if err := o.CopyFile(sub, sub+"/x"); err == nil {
		t.Error("CopyFile copies a directory")
	}
	if got := listDisk(t, dir); !maps.Equal(got, map[string]string{"file": "text", "link": "-> file", "sub": "dir"}) {
		t.Errorf("it changed: %v", got)
	}
	if err := errors.Join(o.CopyFile(file, sub+"/copy"), o.Mkdir(sub+"/dir")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]uint32{"copy": 0o600, "dir": 0o700} {
		if info, err := o.Lstat(sub + "/" + name); err != nil || info.Perm != want {
			t.Errorf("%s: mode %o, %v", name, info.Perm, err)
		}
	}
}

// TestLockEnds: a closed lock is free at once, also while a process that is just
// being started still holds the descriptor that it inherited.
func TestLockEnds(t *testing.T) {
	dir := t.TempDir()
	l, err := OS{}.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	inherited, err := unix.Dup(int(l.(dirLock).f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inherited)
	if _, err := (OS{}).Lock(dir); !errors.Is(err, ErrBusy) {
		t.Errorf("a second Lock: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OS{}.Lock(dir)
	if err != nil {
		t.Fatalf("Lock after Close: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}
