package fat

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relive/tree"
	"relive/tree/systest"
)

// contentOf opens a file as content.
func contentOf(t testing.TB, path string) tree.Content {
	t.Helper()
	img, err := os.ReadFile(path)
	systest.Must(t, err)
	return bytesOf(img)
}

func bytesOf(img []byte) tree.Content {
	c, _ := tree.Bytes(img).Open()
	return c
}

// put returns an edit that puts files in and takes others out, where content is
// nil.
func put(files map[string][]byte) func(*tree.Node) (*tree.Node, error) {
	return func(root *tree.Node) (*tree.Node, error) {
		var e tree.Edits
		for path, content := range files {
			if content == nil {
				e.Remove(path)
				continue
			}
			n := tree.NewFile("", 0o644, content)
			n.Mtime = tree.Time{Sec: 1700000000}
			e.Put(path, n)
		}
		return e.Apply(root)
	}
}

// rewriteTo rewrites an image and gives the path of the new one, which fsck.fat
// and mtools accept.
func rewriteTo(t testing.TB, path string, edit func(*tree.Node) (*tree.Node, error)) string {
	t.Helper()
	c := contentOf(t, path)
	data, size, changed, err := Rewrite(t.Context(), c, "efi.img", edit)
	systest.Must(t, err)
	if !changed {
		t.Error("nothing has changed")
	}
	out := path + ".new"
	os.Remove(out)
	save(t, data, out)
	if st, err := os.Stat(out); err != nil || st.Size() != size {
		t.Errorf("%d bytes, told as %d; %v", st.Size(), size, err)
	}
	checkImage(t, out)
	return out
}

// makeFAT has mkfs.fat make an image, with boot code, and mcopy fill it.
func makeFAT(t testing.TB, r *rand.Rand, dir string, size int64, args ...string) string {
	t.Helper()
	img, host := filepath.Join(dir, "img"), filepath.Join(dir, "host")
	if args[0] == "mformat" {
		// As grub-mkrescue does.
		systest.Run(t, "mformat", append(append([]string{"-C"}, args[1:]...), "-i", img, "::")...)
	} else {
		systest.BlankAt(t, img, size)
		systest.Run(t, "mkfs.fat", append(args, img)...)
	}
	f, err := os.OpenFile(img, os.O_RDWR, 0)
	systest.Must(t, err)
	defer f.Close()
	boot := sectorOf(t, img)
	for _, at := range []uint16{0, le.Uint16(boot[bsBackup:])} {
		if at > 0 && le.Uint16(boot[bsFATSectors16:]) != 0 {
			break
		}
		_, err = f.WriteAt([]byte("boot code that stays"), int64(at)*int64(le.Uint16(boot[bsBytesPerSector:]))+150)
		systest.Must(t, err)
	}
	systest.Must(t, os.Mkdir(host, 0o755))
	populate(t, r, host, true, 1, size > 4<<20)
	entries, err := filepath.Glob(filepath.Join(host, "*"))
	systest.Must(t, err)
	systest.Run(t, "mcopy", append(append([]string{"-i", img, "-s", "-m"}, entries...), "::/")...)
	systest.Run(t, "mattrib", "-i", img, "+h", "+s", "+r", "-a", "::/README")
	systest.Run(t, "fsck.fat", "-n", img)
	return img
}

var rewritten = []struct {
	size int64
	args []string
}{
	{2880 << 10, []string{"-n", "ESP", "-i", "DEADBEEF"}},
	{6 << 20, []string{"-F12", "-s8", "-r256", "-h", "2048"}},
	{24 << 20, []string{"-F16", "-s2", "-n", "sixteen", "-R", "8"}},
	{40 << 20, []string{"-F16", "-s4", "-f1", "-S1024"}},
	{70 << 20, []string{"-F32", "-s2", "-n", "My Stick", "-h", "63"}},
	{70 << 20, []string{"-F32", "-s2", "-b", "3", "-R", "12"}},
	{2880 << 10, []string{"mformat", "-f", "2880", "-L", "16", "-v", "MTOOLS", "-H", "77"}},
	{8 << 20, []string{"mformat", "-T", "16384", "-h", "64", "-s", "32", "-c", "2"}},
}

// TestRewrite: what is edited is, all else stays: names, content, times, short
// names, attributes, boot code, label, serial, hidden sectors, kind and size.
func TestRewrite(t *testing.T) {
	t.Parallel()
	systest.NeedTools(t, "mkfs.fat", "mformat", "mcopy", "fsck.fat", "mdir", "mattrib", "blkid")
	for i, c := range rewritten {
		t.Run(fmt.Sprint(c.args), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(i), 5))
			img := makeFAT(t, r, systest.MemDir(t), c.size, c.args...)
			files := map[string][]byte{
				"README/a new name.cfg":  []byte("set timeout=5\n"),
				"linuxfs":                bytes.Repeat([]byte("other "), 900),
				"README/made/GRUB.CFG":   []byte("x"),
				"lower.ext":              nil,
				"Mixed Case.TXT":         nil,
				"a new name for all.txt": []byte("1"),
				"A NEW NAME.TXT":         []byte("2"),
			}
			if lookup(t, rootOf(t, openFile(t, img)), "README").Type != tree.Directory {
				t.Fatal("README is no directory")
			}
			out := rewriteTo(t, img, put(files))
			was, is := openFile(t, img), openFile(t, out)
			want, err := put(files)(rootOf(t, was))
			systest.Must(t, err)
			if n := equalTrees(t, rootOf(t, is), want, "", 0); n < 40 {
				t.Errorf("only %d nodes were compared", n)
			}
			if is.vol.size != was.vol.size || is.Kind() != was.Kind() || is.ClusterSize() != was.ClusterSize() {
				t.Errorf("%s of %d bytes in clusters of %d", is.Kind(), is.vol.size, is.ClusterSize())
			}
			for _, tag := range []string{"UUID", "LABEL"} {
				if a, b := blkid(t, img, tag), blkid(t, out, tag); a != b {
					t.Errorf("%s %q, was %q", tag, b, a)
				}
			}
			if a, b := sectorOf(t, img), sectorOf(t, out); !bytes.Equal(a, b) {
				t.Errorf("the boot sector differs:\n% x\n% x", a, b)
			}
			// Short names and attributes of what stays; the list of the root, too.
			for _, dir := range []*dir{was.rootDir()} {
				before, err := was.oldEntries(dir)
				systest.Must(t, err)
				after, err := is.oldEntries(is.rootDir())
				systest.Must(t, err)
				k := 0
				for _, o := range before {
					if content, edited := files[o.name]; edited && content == nil {
						continue
					}
					now := after[k]
					k++
					a, b := o.raw, now.raw
					for _, e := range []*[entrySize]byte{&a, &b} {
						putCluster(e[:], 0)
						if o.name == "linuxfs" {
							clear(e[deTime:])
						}
					}
					if o.name != now.name || a != b {
						t.Errorf("entry of %q is\n% x\n%q was\n% x", now.name, b, o.name, a)
					}
				}
			}
			if n := fragments(t, rootOf(t, is)); n != 0 {
				t.Errorf("%d files are in pieces", n)
			}
		})
	}
}

// TestRewriteNothing: where nothing changes, it is said, and the data are the old
// ones.
func TestRewriteNothing(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"fat12", "fat16", "fat32"} {
		img := fixture(t, name)
		for what, edit := range map[string]func(*tree.Node) (*tree.Node, error){
			"same root": func(n *tree.Node) (*tree.Node, error) { return n, nil },
			"same file": func(n *tree.Node) (*tree.Node, error) {
				var e tree.Edits
				err := tree.Walk(t.Context(), n, func(path string, n *tree.Node) error {
					if n.Type == tree.Regular && n.Size < 1<<20 {
						p, err := tree.ReadAll(n, 1<<20)
						systest.Must(t, err)
						same := tree.NewFile("", 0o600, p)
						same.Mtime = n.Mtime
						e.Put(path, same)
					}
					return nil
				})
				systest.Must(t, err)
				return e.Apply(n)
			},
		} {
			data, size, changed, err := Rewrite(t.Context(), bytesOf(img), name, edit)
			if err != nil || changed || size != int64(len(img)) {
				t.Errorf("%s, %s: changed %v, %d bytes, %v", name, what, changed, size, err)
				continue
			}
			c, err := data.Open()
			systest.Must(t, err)
			got := make([]byte, c.Size())
			systest.Must(t, tree.ReadFull(c, got, 0))
			if !bytes.Equal(got, img) {
				t.Errorf("%s, %s: other bytes", name, what)
			}
		}
	}
}

// TestRewriteGrows: an image in which the tree has no more room becomes larger,
// and keeps its kind.
func TestRewriteGrows(t *testing.T) {
	t.Parallel()
	systest.NeedTools(t, "mkfs.fat", "mformat", "mcopy", "fsck.fat", "mdir", "mattrib")
	for i, c := range append(rewritten[:len(rewritten):len(rewritten)], []struct {
		size int64
		args []string
	}{
		{4100 << 10, []string{"-F12", "-s2"}},  // more clusters than FAT12 has
		{65500 << 10, []string{"-F16", "-s2"}}, // than FAT16 has
	}...) {
		t.Run(fmt.Sprint(c.args), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(i), 6))
			img := makeFAT(t, r, systest.MemDir(t), c.size, c.args...)
			end := openFile(t, img).vol.size
			systest.Must(t, os.Truncate(img, end))
			// Something behind the volume, which stays where the volume does not grow
			// over it.
			f, err := os.OpenFile(img, os.O_RDWR|os.O_APPEND, 0)
			systest.Must(t, err)
			_, err = f.Write([]byte("behind"))
			systest.Must(t, err)
			systest.Must(t, f.Close())
			if out := rewriteTo(t, img, put(map[string][]byte{"new": []byte("new")})); true {
				p, err := os.ReadFile(out)
				systest.Must(t, err)
				if int64(len(p)) != end+6 || string(p[end:]) != "behind" {
					t.Errorf("%d bytes, the volume has %d", len(p), end)
				}
			}
			files := map[string][]byte{"large": bytes.Repeat([]byte("0123456789abcde\n"), int(end>>4)+8000)}
			if c.size < 10<<20 {
				for i := range 600 {
					files[fmt.Sprintf("file %d in the root", i)] = []byte{byte(i)}
				}
			}
			out := rewriteTo(t, img, put(files))
			was, is := openFile(t, img), openFile(t, out)
			want, err := put(files)(rootOf(t, was))
			systest.Must(t, err)
			equalTrees(t, rootOf(t, is), want, "", 0)
			if is.Kind() != was.Kind() || is.vol.serial != was.vol.serial {
				t.Errorf("%s, was %s", is.Kind(), was.Kind())
			}
			if a, b := sectorOf(t, img), sectorOf(t, out); !bytes.Equal(a[:3], b[:3]) || !bytes.Equal(a[100:], b[100:]) {
				t.Error("the boot code differs")
			}
			if least := was.vol.size + 64<<10; is.vol.size < least || is.vol.size > least+c.size+8<<20 {
				t.Errorf("%d bytes, was %d", is.vol.size, was.vol.size)
			}
		})
	}
}

// TestRewriteChain: rewritten over and over, an image stays sound, and what comes
// out is what was asked for.
func TestRewriteChain(t *testing.T) {
	systest.NeedTools(t, "fsck.fat", "mdir")
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 8))
	dir := systest.MemDir(t)
	p, err := NewPlan(t.Context(), tree.NewDir("", 0o755, tree.NewFile("begin", 0o644, []byte("x"))),
		BuildOptions{Label: "CHAIN", Hidden: 7})
	systest.Must(t, err)
	path := filepath.Join(dir, "0")
	save(t, p.Data(), path)
	all := names(r, false)
	for round := range 25 {
		files := map[string][]byte{}
		for range 6 {
			name := fmt.Sprintf("%s %d", all[r.IntN(len(all)-1)], r.IntN(3))
			if r.IntN(3) == 0 {
				name = fmt.Sprintf("dir %d/", r.IntN(4)) + name
			}
			files[name] = bytes.Repeat([]byte{byte(round)}, r.IntN(30000))
			if r.IntN(4) == 0 {
				files[name] = nil
			}
		}
		files["round"] = []byte{byte(round)}
		was := openFile(t, path)
		want, err := put(files)(rootOf(t, was))
		systest.Must(t, err)
		next := rewriteTo(t, path, put(files))
		is := openFile(t, next)
		equalTrees(t, rootOf(t, is), want, "", 0)
		if l, err := is.Label(); l != "CHAIN" || err != nil {
			t.Fatal(l, err)
		}
		path = next
	}
	if len(openNames(t, path)) < 40 {
		t.Error("too few names")
	}
}

func openNames(t testing.TB, path string) (out []string) {
	systest.Must(t, tree.Walk(t.Context(), rootOf(t, openFile(t, path)), func(p string, _ *tree.Node) error {
		out = append(out, p)
		return nil
	}))
	return out
}

// TestRewriteSyslinux: ldlinux.sys stays where the boot sector looks for it, and
// where it cannot, that is an error.
func TestRewriteSyslinux(t *testing.T) {
	t.Parallel()
	systest.NeedTools(t, "mkfs.fat", "mcopy", "mdel", "fsck.fat", "mdir")
	dir := systest.MemDir(t)
	img, gap, sys := filepath.Join(dir, "img"), filepath.Join(dir, "gap"), filepath.Join(dir, "sys")
	systest.BlankAt(t, img, 3<<20)
	systest.Run(t, "mkfs.fat", img)
	systest.Must(t, os.WriteFile(gap, make([]byte, 10000), 0o644))
	systest.Must(t, os.WriteFile(sys, bytes.Repeat([]byte("loader "), 9000), 0o644))
	systest.Run(t, "mcopy", "-i", img, gap, "::first")
	systest.Run(t, "mcopy", "-i", img, gap, "::second")
	systest.Run(t, "mdel", "-i", img, "::first")
	systest.Run(t, "mcopy", "-i", img, sys, "::ldlinux.sys")
	f, err := os.OpenFile(img, os.O_RDWR, 0)
	systest.Must(t, err)
	_, err = f.WriteAt([]byte("SYSLINUX"), 3)
	systest.Must(t, err)
	systest.Must(t, f.Close())
	place := func(path string) (out []run) {
		fs := openFile(t, path)
		out, err := fs.runs(lookup(t, rootOf(t, fs), "ldlinux.sys").Data.(*fileData))
		systest.Must(t, err)
		return out
	}
	out := rewriteTo(t, img, put(map[string][]byte{"a": make([]byte, 900000), "b": []byte("b"), "second": nil}))
	if a, b := place(img), place(out); fmt.Sprint(a) != fmt.Sprint(b) || len(a) == 0 {
		t.Errorf("ldlinux.sys lies at %v, was at %v", b, a)
	}
	a, err := os.ReadFile(sys)
	systest.Must(t, err)
	if b, err := tree.ReadAll(lookup(t, rootOf(t, openFile(t, out)), "ldlinux.sys"), 1<<20); err != nil || !bytes.Equal(a, b) {
		t.Error("other content", err)
	}
	many := map[string][]byte{}
	for i := range 600 {
		many[fmt.Sprintf("name %d", i)] = nil
		many[fmt.Sprintf("name %d of many", i)] = []byte{}
	}
	for what, files := range map[string]map[string][]byte{
		"edited": {"ldlinux.sys": []byte("other")},
		"gone":   {"ldlinux.sys": nil},
		"moved":  many,
	} {
		_, _, _, err := Rewrite(t.Context(), contentOf(t, img), "img", put(files))
		if !errors.Is(err, tree.ErrUnsupported) || !strings.Contains(err.Error(), "ldlinux.sys") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestRewriteRefuses: what cannot be rewritten.
func TestRewriteRefuses(t *testing.T) {
	t.Parallel()
	if _, _, _, err := Rewrite(t.Context(), bytesOf(fixture(t, "exfat")), "x", put(nil)); !errors.Is(err, tree.ErrUnsupported) {
		t.Error(err)
	}
	link := func(n *tree.Node) (*tree.Node, error) {
		var e tree.Edits
		e.Put("link", tree.NewSymlink("", "x"))
		return e.Apply(n)
	}
	if _, _, _, err := Rewrite(t.Context(), bytesOf(fixture(t, "fat12")), "efi.img", link); err == nil ||
		err.Error() != "efi.img: /link: is a symlink, which FAT has no place for" {
		t.Error(err)
	}
	stop := errors.New("stop")
	if _, _, _, err := Rewrite(t.Context(), bytesOf(fixture(t, "fat12")), "efi.img", func(*tree.Node) (*tree.Node, error) {
		return nil,
			stop
	}); err != stop {
		t.Error(err)
	}
	// Many names for the same clusters.
	f := newForge(t, "fat16")
	root := f.img[f.vol.rootOffset:][:f.vol.rootEntries*entrySize]
	for i := range f.vol.rootEntries {
		e := root[i*entrySize:][:entrySize]
		clear(e)
		copy(e, fmt.Sprintf("F%07d   ", i))
		putCluster(e, 2)
		le.PutUint32(e[deSize:], uint32(f.vol.clusters)<<f.vol.clusterBits/4)
	}
	if _, _, _, err := Rewrite(t.Context(), bytesOf(f.img), "efi.img", put(map[string][]byte{"a": []byte("a")})); !errors.Is(err,
		tree.ErrCorrupt) {
		t.Error(err)
	}
}

// TestRewriteChanged: content that is another when it is read is an error.
func TestRewriteChanged(t *testing.T) {
	t.Parallel()
	n := tree.NewFile("f", 0o644, []byte("four"))
	n.Size = 5
	p, err := NewPlan(t.Context(), tree.NewDir("", 0o755, n), BuildOptions{Time: tree.TimeOf(time.Unix(0, 0))})
	systest.Must(t, err)
	c, err := p.Data().Open()
	systest.Must(t, err)
	if _, err := c.ReadAt(make([]byte, c.Size()), 0); err == nil || !strings.Contains(err.Error(), "/f: has 4 bytes, no longer 5") {
		t.Error(err)
	}
}

// TestRewriteClean: a volume that was not unmounted is, once it is rewritten, and
// the names that come to it get short names of their own.
func TestRewriteClean(t *testing.T) {
	t.Parallel()
	systest.NeedTools(t, "fsck.fat", "mdir", "mkfs.fat")
	for _, kind := range []string{"12", "16", "32"} {
		path := filepath.Join(systest.MemDir(t), "img")
		systest.BlankAt(t, path, 40<<20)
		systest.Run(t, "mkfs.fat", "-F"+kind, "-s"+map[string]string{"12": "64", "16": "4", "32": "1"}[kind], path)
		img := rewriteTo(t, path, put(map[string][]byte{"a long name 1": []byte("x"), "a long name 2": []byte("y"), "a/long name 3": nil}))
		b, err := os.ReadFile(img)
		systest.Must(t, err)
		places := []int{bsState}
		if kind == "32" {
			places = []int{bsState32, int(le.Uint16(b[bsBackup:]))*512 + bsState32}
		}
		for _, at := range places {
			b[at] |= 1
		}
		systest.Must(t, os.WriteFile(img, b, 0o644))
		if !openFile(t, img).Dirty() {
			t.Fatal("not dirty")
		}
		// Sorted before those that are there.
		out := rewriteTo(t, img, put(map[string][]byte{"a long name": []byte("z"), "A LONG": []byte("q")}))
		fs := openFile(t, out)
		if fs.Dirty() {
			t.Error("dirty")
		}
		b, err = os.ReadFile(out)
		systest.Must(t, err)
		for _, at := range places {
			if b[at] != 0 {
				t.Errorf("FAT%s: state %#x at %d", kind, b[at], at)
			}
		}
		entries, err := fs.oldEntries(fs.rootDir())
		systest.Must(t, err)
		seen := map[shortForm]string{}
		for _, e := range entries {
			s := shortForm(e.raw[:shortName])
			if seen[s] != "" {
				t.Errorf("%q and %q have the same short name", e.name, seen[s])
			}
			seen[s] = e.name
		}
	}
}

// TestRewriteRoot: a root of FAT32 that does not begin in cluster 2.
func TestRewriteRoot(t *testing.T) {
	t.Parallel()
	systest.NeedTools(t, "fsck.fat", "mdir", "mkfs.fat")
	path := filepath.Join(systest.MemDir(t), "img")
	systest.BlankAt(t, path, 40<<20)
	systest.Run(t, "mkfs.fat", "-F32", "-s1", path)
	b, err := os.ReadFile(path)
	systest.Must(t, err)
	for _, sector := range []int{0, int(le.Uint16(b[bsBackup:]))} {
		le.PutUint32(b[sector*512+bsRootCluster:], 9)
	}
	for table := range 2 {
		at := b[(int(le.Uint16(b[bsReserved:]))+table*int(le.Uint32(b[bsFATSectors32:])))*512:]
		copy(at[9*4:], at[2*4:3*4])
		clear(at[2*4 : 3*4])
	}
	systest.Must(t, os.WriteFile(path, b, 0o644))
	systest.Run(t, "fsck.fat", "-n", path)
	out := openFile(t, rewriteTo(t, path, put(map[string][]byte{"a": []byte("x")})))
	if n := lookup(t, rootOf(t, out), "a"); n.Size != 1 || out.vol.rootCluster != 2 {
		t.Errorf("%d bytes, root in cluster %d", n.Size, out.vol.rootCluster)
	}
}
