package newfile_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/remaster/newfile"
	"relive/remaster/probe"
	"relive/remaster/say"
	"relive/tree/systest"
)

// TestKinds: with Force a file gives way if it holds nothing that is known, or
// what the new one will hold; ext2, ext3 and ext4 are one in that. Without any
// kinds it is not looked at.
func TestKinds(t *testing.T) {
	systest.NeedTools(t, "mke2fs", "mksquashfs", "mkfs.vfat")
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, typ := range []string{"ext2", "ext4"} {
		systest.BlankAt(t, at(typ), 1<<20)
		systest.Run(t, "mke2fs", "-q", "-F", "-t", typ, "-O", "^has_journal", at(typ))
	}
	systest.Run(t, "mksquashfs", t.TempDir(), at("squashfs"), "-quiet", "-no-progress")
	systest.BlankAt(t, at("vfat"), 1<<20)
	systest.Run(t, "mkfs.vfat", at("vfat"))
	systest.Must(t, os.WriteFile(at("text"), []byte("some text\n"), 0o644))
	systest.BlankAt(t, at("zeros"), 1<<20)
	sets := map[string][]probe.Kind{
		"none": nil, "squashfs": {probe.SquashFS}, "ext4": {probe.Ext4}, "squashfs and ext2": {probe.SquashFS, probe.Ext2},
		"iso": {probe.ISO9660},
	}
	may := map[string][]string{
		"ext2":     {"none", "ext4", "squashfs and ext2"},
		"ext4":     {"none", "ext4", "squashfs and ext2"},
		"squashfs": {"none", "squashfs", "squashfs and ext2"},
		"vfat":     {"none"},
		"text":     {"none", "squashfs", "ext4", "squashfs and ext2", "iso"},
		"zeros":    {"none", "squashfs", "ext4", "squashfs and ext2", "iso"},
	}
	for file, ok := range may {
		was, err := os.ReadFile(at(file))
		systest.Must(t, err)
		for name, kinds := range sets {
			o := newfile.Options{Force: true, Kinds: kinds}
			checked, made := newfile.Check(at(file), o), newfile.Write(at(file), []byte("new"), o)
			now, err := os.ReadFile(at(file))
			systest.Must(t, err)
			if slices.Contains(ok, name) {
				if checked != nil || made != nil || string(now) != "new" {
					t.Errorf("%s, kinds %s: %v, %v", file, name, checked, made)
				}
				systest.Must(t, os.WriteFile(at(file), was, 0o644))
				continue
			}
			if fact := say.Force + " does not replace that"; !refused(checked, fact) || !refused(made, fact) || !slices.Equal(was, now) {
				t.Errorf("%s, kinds %s: %v, %v", file, name, checked, made)
			}
		}
	}
}

// TestNotFiles: each kind of file that is none is refused by its name, and stays.
func TestNotFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	l, err := net.Listen("unix", at("socket"))
	systest.Must(t, err)
	defer l.Close()
	systest.Must(t, unix.Mkfifo(at("pipe"), 0o600))
	want := map[string]string{"socket": "not a file (a socket)", "pipe": "not a file (a pipe)"}
	for name, mode := range map[string]uint32{"a block device": unix.S_IFBLK, "a character device": unix.S_IFCHR} {
		if err := unix.Mknod(at(name), mode|0o600, int(unix.Mkdev(240, 250))); err != nil {
			systest.Lacks(t, "device nodes, but: "+err.Error())
		}
		want[name] = "not a file (" + name + ")"
	}
	for name, fact := range want {
		for _, force := range []bool{false, true} {
			if err := newfile.Write(at(name), nil, newfile.Options{Force: force}); !refused(err, fact) {
				t.Errorf("%s, force %v: %v", name, force, err)
			}
		}
		if st, err := os.Lstat(at(name)); err != nil || st.Mode().IsRegular() {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
}

// TestTempNames: for every length that a name can have, its temporary names are
// ones that a file can have, tell what they are for as long as there is room, and
// are those of no other name.
func TestTempNames(t *testing.T) {
	dir := t.TempDir()
	seen := map[string]string{}
	for n := 1; n <= unix.NAME_MAX; n++ {
		for _, c := range []string{"a", "b"} {
			name := strings.Repeat(c, n)
			temp := newfile.TempName(filepath.Join(dir, name))
			f, err := newfile.Create(filepath.Join(dir, name), newfile.Options{})
			systest.Must(t, err)
			scratch, err := f.Scratch()
			systest.Must(t, err)
			systest.Must(t, os.WriteFile(scratch, nil, 0o600))
			plain := filepath.Join(dir, name) + newfile.Suffix
			if f.Name() != temp || f.Path() != filepath.Join(dir, name) || filepath.Dir(temp) != dir ||
				!strings.HasSuffix(temp, newfile.Suffix) {
				t.Errorf("%d bytes: %s, %s", n, f.Name(), f.Path())
			}
			if room := n+len(scratch)-len(temp)+len(newfile.Suffix) <= unix.NAME_MAX; room != (temp == plain) {
				t.Errorf("%d bytes: %s", n, temp)
			}
			if seen[temp] != "" {
				t.Errorf("%d bytes: the temporary name of another", n)
			}
			seen[temp] = name
			systest.Must(t, f.Discard())
		}
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

// TestPermissions: before the umask a file has those that are asked for, or what
// files have; like another it has that one's mode. Where that one is missing
// nothing is left.
func TestPermissions(t *testing.T) {
	dir := t.TempDir()
	old := unix.Umask(0)
	defer unix.Umask(old)
	model := filepath.Join(dir, "model")
	systest.Must(t, os.WriteFile(model, nil, 0o604))
	for _, mask := range []int{0, 0o022, 0o077} {
		unix.Umask(mask)
		for _, c := range []struct {
			o    newfile.Options
			want fs.FileMode
		}{
			{newfile.Options{}, 0o666 &^ fs.FileMode(mask)},
			{newfile.Options{Perm: 0o640}, 0o640 &^ fs.FileMode(mask)},
			{newfile.Options{Perm: 0o640, Like: model}, 0o604},
		} {
			c.o.Force = true
			systest.Must(t, newfile.Write(filepath.Join(dir, "x"), nil, c.o))
			if st, err := os.Stat(filepath.Join(dir, "x")); err != nil || st.Mode() != c.want {
				t.Errorf("mask %o, %+v: %v, %v", mask, c.o, st.Mode(), err)
			}
		}
	}
	if err := newfile.Write(filepath.Join(dir, "y"), nil, newfile.Options{Like: model + "none"}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"model", "x"}) {
		t.Errorf("left: %q", got)
	}
}

// TestLeftovers: a run removes every temporary file that nobody has locked, with
// what was beside it, wherever it stands among the others, and nothing else.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	const part, scratch = newfile.Suffix, newfile.Suffix + ".scratch"
	var want []string
	for i := range 4 {
		put := func(name string, stays bool) {
			name = fmt.Sprintf("%d%s", i, name)
			systest.Must(t, os.WriteFile(at(name), []byte("data"), 0o644))
			if stays {
				want = append(want, name)
			}
		}
		put("left"+part, false)
		put("both"+part, false)
		put("both"+scratch, false)
		put("alone"+scratch, false)
		put("user.scratch", true)
		put("user"+part+".iso", true)
		name := fmt.Sprintf("%ddir", i) + part
		systest.Must(t, os.Mkdir(at(name), 0o755))
		systest.Must(t, os.Symlink("user", at(fmt.Sprintf("%dlink", i)+part)))
		want = append(want, name, fmt.Sprintf("%dlink", i)+part)
		f, err := newfile.Create(at(fmt.Sprintf("%dheld", i)), newfile.Options{})
		systest.Must(t, err)
		defer f.Discard() //nolint:errcheck // the directory goes
		s, err := f.Scratch()
		systest.Must(t, err)
		systest.Must(t, os.WriteFile(s, nil, 0o600))
		want = append(want, filepath.Base(f.Name()), filepath.Base(s))
	}
	if newfile.Left(at("3held")) != 0 {
		t.Error("nothing is written, and something left")
	}
	systest.Must(t, newfile.Write(at("new"), []byte("x"), newfile.Options{}))
	want = append(want, "new")
	slices.Sort(want)
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("there is %q\nwant     %q", got, want)
	}
}

// TestLeft: what an interrupted run has left is told as the disk counts it.
func TestLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	systest.Must(t, os.WriteFile(newfile.TempName(path), make([]byte, 300<<10), 0o644))
	blocks := strings.Fields(systest.Output(t, "stat", "-c", "%b %B", newfile.TempName(path)))
	var n, unit int64
	if _, err := fmt.Sscan(strings.Join(blocks, " "), &n, &unit); err != nil {
		t.Fatal(err)
	}
	if got := newfile.Left(path); got != n*unit || got < 300<<10 {
		t.Errorf("%d, but %d blocks of %d", got, n, unit)
	}
	systest.Must(t, os.Remove(newfile.TempName(path)))
	systest.Must(t, os.Mkdir(newfile.TempName(path), 0o755))
	if got := newfile.Left(path); got != 0 {
		t.Errorf("a directory: %d", got)
	}
}

// TestNameGone: a temporary file whose name somebody took away is an error, and
// nothing else has the name then.
func TestNameGone(t *testing.T) {
	for _, force := range []bool{false, true} {
		dir := t.TempDir()
		f, err := newfile.Create(filepath.Join(dir, "x"), newfile.Options{Force: force})
		systest.Must(t, err)
		systest.Must(t, os.Remove(f.Name()))
		if err := f.Commit(context.Background(), nil); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) {
			t.Errorf("force %v: %v", force, err)
		}
		if got := names(t, dir); len(got) != 0 {
			t.Errorf("force %v: %q", force, got)
		}
	}
}

// TestPowerCut: the disk as it is when Commit returns, with nothing of what the
// kernel still has in memory, has the file under its name, whole; and at the time
// of the check it has what was there before.
func TestPowerCut(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "mount", "debugfs")
	systest.NeedFilesystems(t, "ext4")
	image := systest.Blank(t, 32<<20)
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", image)
	device, _ := systest.Loop(t, image, 0)
	dir, _ := systest.Mount(t, "ext4", "commit=3600", device)
	// cut gives what the disk has.
	cut := func() string {
		t.Helper()
		disk := image + ".cut"
		systest.CopyFile(t, image, disk)
		defer os.Remove(disk)
		at, unmount := systest.Mount(t, "ext4", "loop", disk)
		defer unmount()
		b, err := os.ReadFile(filepath.Join(at, "x"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		return string(b)
	}
	former := ""
	for i, force := range []bool{false, true, true} {
		text := strings.Repeat(fmt.Sprintf("text %d\n", i), 20000)
		f, err := newfile.Create(filepath.Join(dir, "x"), newfile.Options{Force: force})
		systest.Must(t, err)
		_, err = f.WriteString(text)
		systest.Must(t, err)
		systest.Must(t, f.Commit(context.Background(), func(*os.File) error {
			if got := cut(); got != former {
				t.Errorf("round %d, while it is checked: %d bytes", i, len(got))
			}
			return nil
		}))
		if got := cut(); got != text {
			t.Errorf("round %d: %d bytes that begin with %.10q", i, len(got), got)
		}
		former = text
	}
}
