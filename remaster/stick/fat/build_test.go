package fat

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// save writes an image to a file, with its holes.
func save(t testing.TB, d tree.Data, path string) {
	t.Helper()
	c, err := d.Open()
	systest.Must(t, err)
	defer c.Close()
	f, err := os.Create(path)
	systest.Must(t, err)
	defer f.Close()
	systest.Must(t, f.Truncate(c.Size()))
	buf := make([]byte, 1<<20)
	for off := int64(0); ; {
		start, end, err := c.NextData(off)
		if err == io.EOF {
			break
		}
		systest.Must(t, err)
		if start < off || end <= start || end > c.Size() {
			t.Fatalf("data from %d to %d, looked for from %d on", start, end, off)
		}
		for off = start; off < end; {
			n := min(end-off, int64(len(buf)))
			systest.Must(t, tree.ReadFull(c, buf[:n], off))
			_, err := f.WriteAt(buf[:n], off)
			systest.Must(t, err)
			off += n
		}
	}
}

// checkImage has fsck.fat and mtools look at an image.
func checkImage(t testing.TB, path string) {
	t.Helper()
	if out := systest.Run(t, "fsck.fat", "-n", "-v", path); strings.Contains(out, "ree cluster summary wrong") ||
		strings.Contains(out, "differences") {
		t.Errorf("fsck.fat:\n%s", out)
	}
	systest.Run(t, "mdir", "-/", "-i", path, "::")
}

// TestBuildMatchesMkfs: the kind and the size of clusters are those that mkfs.fat
// takes for the size.
func TestBuildMatchesMkfs(t *testing.T) {
	t.Parallel()
	systest.NeedTools(t, "mkfs.fat", "fsck.fat", "mdir")
	dir := systest.MemDir(t)
	root := tree.NewDir("", 0o755, tree.NewFile("A", 0o644, []byte("a")))
	for _, kib := range []int64{64, 300, 1000, 3000, 4096, 8000, 9000, 16384, 65536, 130000, 133000, 200000, 262144,
		270000, 400000, 524000, 524288, 600000, 1 << 20, 8 << 20, 8400000, 17000000, 32 << 20} {
		path := filepath.Join(dir, "theirs")
		os.Remove(path)
		systest.BlankAt(t, path, kib<<10)
		systest.Run(t, "mkfs.fat", path)
		theirs := openFile(t, path)
		p, err := NewPlan(t.Context(), root, BuildOptions{Size: kib << 10})
		if err != nil {
			t.Errorf("%d KiB: %v", kib, err)
			continue
		}
		if p.Size() != kib<<10 || p.Kind() != theirs.Kind() || p.img.clusterSize() != theirs.ClusterSize() {
			t.Errorf("%d KiB: %d bytes, %s in clusters of %d; mkfs.fat has %s of %d", kib, p.Size(), p.Kind(), p.img.clusterSize(),
				theirs.Kind(), theirs.ClusterSize())
		}
		path = filepath.Join(dir, "ours")
		os.Remove(path)
		save(t, p.Data(), path)
		checkImage(t, path)
	}
}

// TestBuildRandom: a random tree comes back, by our own reader and by mtools, and
// fsck.fat finds nothing.
func TestBuildRandom(t *testing.T) {
	systest.NeedTools(t, "fsck.fat", "mdir", "mcopy", "blkid")
	for i, o := range []BuildOptions{
		{},
		{Label: "ESP", Free: 3 << 20},
		{Label: "Mixed case", Size: 12 << 20, Hidden: 2048},
		{Kind: FAT16, Label: "sixteen", Serial: 0x1234ABCD},
		{Kind: FAT32, Label: "THIRTY TWO"},
		{Size: 700 << 20, Hidden: 63},
		{Size: 32 << 30, Label: "BIG"},
	} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(i), 9))
			dir := systest.MemDir(t)
			host, img := filepath.Join(dir, "host"), filepath.Join(dir, "img")
			systest.Must(t, os.Mkdir(host, 0o755))
			populate(t, r, host, i%2 == 0, 1, o.Size == 0)
			want, err := hostfs.Open(host)
			systest.Must(t, err)
			p, err := NewPlan(t.Context(), want, o)
			systest.Must(t, err)
			if o.Size != 0 && p.Size() != o.Size || o.Kind != "" && p.Kind() != o.Kind {
				t.Errorf("%s of %d bytes", p.Kind(), p.Size())
			}
			save(t, p.Data(), img)
			checkImage(t, img)
			fs := openFile(t, img)
			if fs.Kind() != p.Kind() {
				t.Errorf("%s, planned as %s", fs.Kind(), p.Kind())
			}
			if n := equalTrees(t, rootOf(t, fs), want, "", 2*time.Second); n < 60 {
				t.Errorf("only %d nodes were compared", n)
			}
			if label, err := fs.Label(); err != nil || label != o.Label {
				t.Errorf("label %q, %v", label, err)
			}
			if got := blkid(t, img, "UUID"); got != fs.UUID() || o.Serial != 0 && got != "1234-ABCD" {
				t.Errorf("UUID %s, blkid has %s", fs.UUID(), got)
			}
			if le.Uint32(sectorOf(t, img)[bsHidden:]) != o.Hidden {
				t.Error("hidden sectors")
			}
			if o.Free > 0 {
				systest.Run(t, "mcopy", "-i", img, zeros(t, dir, o.Free), "::more")
				systest.Run(t, "fsck.fat", "-n", img)
			}
			if i%2 != 0 {
				return // mtools knows no names beyond the first plane
			}
			back := filepath.Join(dir, "back")
			systest.Must(t, os.Mkdir(back, 0o755))
			systest.Run(t, "mcopy", "-s", "-m", "-n", "-i", img, "::LiveOS", "::README", "::über groß.txt", "::Mixed Case.TXT", back)
			for _, name := range []string{"LiveOS", "README", "über groß.txt", "Mixed Case.TXT"} {
				systest.Run(t, "diff", "-r", filepath.Join(back, name), filepath.Join(host, name))
			}
		})
	}
}

func sectorOf(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	systest.Must(t, err)
	defer f.Close()
	p := make([]byte, 512)
	_, err = f.ReadAt(p, 0)
	systest.Must(t, err)
	return p
}

func zeros(t testing.TB, dir string, n int64) string {
	t.Helper()
	path := filepath.Join(dir, "zeros")
	systest.BlankAt(t, path, n)
	return path
}

// TestBuildReadsAlike: what is read in any pieces is what is read at once, and
// the same tree gives the same bytes.
func TestBuildReadsAlike(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(4, 4))
	var kids []*tree.Node
	for i := range 60 {
		p := make([]byte, r.IntN(9000))
		for k := range p {
			p[k] = byte(r.Uint32())
		}
		kids = append(kids, tree.NewFile(fmt.Sprintf("file number %d", i), 0o644, p))
	}
	root := tree.NewDir("", 0o755, kids...)
	for _, o := range []BuildOptions{{}, {Kind: FAT16, Size: 9 << 20}, {Kind: FAT32, Size: 40 << 20}} {
		p, err := NewPlan(t.Context(), root, o)
		systest.Must(t, err)
		c, err := p.Data().Open()
		systest.Must(t, err)
		defer c.Close()
		whole := make([]byte, c.Size())
		systest.Must(t, tree.ReadFull(c, whole, 0))
		for range 300 {
			off := r.Int64N(c.Size())
			if r.IntN(2) == 0 {
				off %= min(200<<10, c.Size())
			}
			n := min(r.Int64N(20000), c.Size()-off)
			got := make([]byte, n)
			systest.Must(t, tree.ReadFull(c, got, off))
			if !bytes.Equal(got, whole[off:off+n]) {
				t.Fatalf("%s: %d bytes at %d differ", p.Kind(), n, off)
			}
		}
		if n, err := c.ReadAt(make([]byte, 10), c.Size()-3); n != 3 || err != io.EOF {
			t.Error(n, err)
		}
		// Holes are zeros.
		for at := int64(0); at < c.Size(); {
			start, end, err := c.NextData(at)
			if err == io.EOF {
				start, end = c.Size(), c.Size()
			} else if err != nil {
				t.Fatal(err)
			}
			if !tree.IsZero(whole[at:start]) {
				t.Fatalf("%s: a hole from %d to %d is not one", p.Kind(), at, start)
			}
			at = end
		}
		again, err := NewPlan(t.Context(), root, o)
		systest.Must(t, err)
		c2, err := again.Data().Open()
		systest.Must(t, err)
		second := make([]byte, c2.Size())
		systest.Must(t, tree.ReadFull(c2, second, 0))
		if !bytes.Equal(whole, second) {
			t.Error("another time other bytes")
		}
	}
}

// TestBuildRefuses: what FAT has no place for is named with its path.
func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	file := func(name string) *tree.Node { return tree.NewFile(name, 0o644, []byte("x")) }
	big := file("big")
	big.Size = 1 << 32
	huge := file("huge")
	huge.Size = 1<<32 - 1
	var many []*tree.Node
	for i := range 40000 {
		many = append(many, tree.NewFile(fmt.Sprintf("a long name %d", i), 0o644, nil))
	}
	for want, c := range map[string]struct {
		o    BuildOptions
		kids []*tree.Node
	}{
		"/d/link: is a symlink": {kids: []*tree.Node{tree.NewSymlink("link", "x")}},
		"/d/dev: is a block device": {kids: []*tree.Node{{Name: "dev",
			Meta: tree.Meta{Type: tree.BlockDevice}}}},
		`/d/Readme: the name is the same as "README" but for case`: {kids: []*tree.Node{file("README"), file("Readme")}},
		`/d/äb: the name is the same as "ÄB" but for case`:         {kids: []*tree.Node{file("äb"), file("ÄB")}},
		`/d/a:b: the name holds ':'`:                               {kids: []*tree.Node{file("a:b")}},
		`/d/end.: the name ends in a dot`:                          {kids: []*tree.Node{file("end.")}},
		`/d/end : the name ends in a dot`:                          {kids: []*tree.Node{file("end ")}},
		`is not valid UTF-8`:                                       {kids: []*tree.Node{file("\xff")}},
		`has 256 UTF-16 units`:                                     {kids: []*tree.Node{file(strings.Repeat("ü", 256))}},
		"/d/big: has 4294967296 bytes":                             {kids: []*tree.Node{big}},
		"/d: more entries than the 65536":                          {kids: many},
		"label \"a label too long\": more than 11 characters":      {o: BuildOptions{Label: "a label too long"}},
		"label \"a*\": has characters":                             {o: BuildOptions{Label: "a*"}},
		"label \"日本\": has characters":                             {o: BuildOptions{Label: "日本"}},
		"the files take 2":                                         {o: BuildOptions{Size: 64 << 10}, kids: []*tree.Node{huge}},
		"more than a FAT16 file system holds":                      {o: BuildOptions{Kind: FAT16}, kids: []*tree.Node{huge}},
		"no FAT32 file system has 1048576 bytes":                   {o: BuildOptions{Kind: FAT32, Size: 1 << 20}},
		"a FAT file system of 1000 bytes":                          {o: BuildOptions{Size: 1000}},
	} {
		_, err := NewPlan(t.Context(), tree.NewDir("", 0o755, tree.NewDir("d", 0o755, c.kids...)), c.o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// TestBuildCosts: memory does not grow with the size of the volume, and many names
// that would have the same short one are no trouble.
func TestBuildCosts(t *testing.T) {
	// Not parallel: all that is allocated counts.
	// 2^31 bytes of zeros in each of eight files.
	var kids []*tree.Node
	for i := range 8 {
		n := tree.NewFile(fmt.Sprintf("large %d", i), 0o644, nil)
		n.Size, n.Data = 1<<31, blank(1<<31)
		kids = append(kids, n)
	}
	root := tree.NewDir("", 0o755, kids...)
	buf := make([]byte, 1<<20)
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p, err := NewPlan(b.Context(), root, BuildOptions{Size: 32 << 30})
			systest.Must(b, err)
			c, err := p.Data().Open()
			systest.Must(b, err)
			for at := int64(0); at < 24<<20; at += int64(len(buf)) {
				systest.Must(b, tree.ReadFull(c, buf, at))
			}
			systest.Must(b, c.Close())
		}
	})
	if got := result.AllocedBytesPerOp(); got > 100<<10 {
		t.Errorf("%d bytes allocated", got)
	}
	t.Logf("%d bytes allocated, %v for 24 MiB of tables", result.AllocedBytesPerOp(), time.Duration(result.NsPerOp()))

	var many []*tree.Node
	for i := range 12000 {
		many = append(many, tree.NewFile(fmt.Sprintf("common beginning %d.extension", i), 0o644, []byte{1}))
	}
	p, err := NewPlan(t.Context(), tree.NewDir("", 0o755, tree.NewDir("d", 0o755, many...)), BuildOptions{})
	systest.Must(t, err)
	c, err := p.Data().Open()
	systest.Must(t, err)
	fs, err := Open(c, c.Size(), "image")
	systest.Must(t, err)
	entries, err := fs.oldEntries(lookup(t, rootOf(t, fs), "d").Dir.(*dir))
	systest.Must(t, err)
	seen := map[shortForm]bool{}
	for _, e := range entries {
		seen[shortForm(e.raw[:shortName])] = true
	}
	if len(seen) != len(many) {
		t.Errorf("%d names have %d short ones", len(many), len(seen))
	}
}

// blank is content of zeros.
type blank int64

func (b blank) Open() (tree.Content, error)                { return b, nil }
func (b blank) ReadAt(p []byte, off int64) (int, error)    { clear(p); return len(p), nil }
func (b blank) Size() int64                                { return int64(b) }
func (b blank) Close() error                               { return nil }
func (b blank) NextData(int64) (start, end int64, e error) { return 0, 0, io.EOF }

// TestBuildShortNames: short names by the specification's examples and rules.
func TestBuildShortNames(t *testing.T) {
	t.Parallel()
	names := []string{
		"README", "grub.cfg", "BOOTX64.EFI", "TextFile.Mine.txt", "The quick brown.fox", "a+b=c.d", ".profile", "x.html", "ÄÖÜ",
		"LONGNA~1.TXT", "Long names.txt",
		"Long nameS 2.txt", "e\u0301", "dir.d", "lower", "SPACE D", "12345678.123", "123456789", "a.b.c",
	}
	want := map[string]string{
		"README": "README     ", "grub.cfg": "GRUB    CFG+", "BOOTX64.EFI": "BOOTX64 EFI", "TextFile.Mine.txt": "TEXTFI~1TXT+",
		"The quick brown.fox": "THEQUI~1FOX+",
		"a+b=c.d":             "A_B_C~1 D  +", ".profile": "PROFIL~1   +", "x.html": "X~1     HTM+", "ÄÖÜ": "___~1      +",
		"LONGNA~1.TXT": "LONGNA~1TXT", "Long names.txt": "LONGNA~3TXT+",
		"Long nameS 2.txt": "LONGNA~2TXT+", "e\u0301": "E_~1       +", "dir.d": "DIR     D  +", "lower": "LOWER      +",
		"SPACE D": "SPACED~1   +", "12345678.123": "12345678123",
		"123456789": "123456~1   +", "a.b.c": "AB~1    C  +",
	}
	var kids []*tree.Node
	for _, name := range names {
		if want[name] != "" {
			kids = append(kids, tree.NewFile(name, 0o644, nil))
		}
	}
	p, err := NewPlan(t.Context(), tree.NewDir("", 0o755, kids...), BuildOptions{})
	systest.Must(t, err)
	c, err := p.Data().Open()
	systest.Must(t, err)
	fs, err := Open(c, c.Size(), "image")
	systest.Must(t, err)
	long := false
	systest.Must(t, fs.rootDir().entries(func(_ int, e []byte) (bool, error) {
		switch {
		case e[0] == 0:
			return true, nil
		case e[deAttr] == attrLongName:
			long = true
			return false, nil
		}
		got := string(e[:shortName])
		if long {
			got += "+"
		}
		name := ""
		for k, w := range want {
			if w == got {
				name = k
			}
		}
		if name == "" {
			t.Errorf("short name %q", got)
		}
		delete(want, name)
		long = false
		return false, nil
	}))
	for name, w := range want {
		t.Errorf("%q is not %q", name, w)
	}
}
