package iso

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"relive/tree"
	"relive/tree/systest"
)

func noLate(context.Context, io.WriterAt, int64) (int64, error) { return 0, nil }

// lateTree is a tree with a file, its sum and a text of its size, as antiX has
// them, and the recipe by which the three are made late: the first in parallel,
// the others of what is read back.
func lateTree(t *testing.T, content []byte, size int64) (want, root *tree.Node, r Recipe) {
	t.Helper()
	sum := md5.Sum(content)
	sumText := hex.EncodeToString(sum[:]) + "  linuxfs\n"
	infoText := fmt.Sprintf("%d bytes, %s", len(content), sumText)
	build := func(texts ...[]byte) *tree.Node {
		dir := tree.NewDir("antiX", 0o755,
			tree.NewFile("linuxfs", 0o644, texts[0]), tree.NewFile("linuxfs.info", 0o600, texts[2]),
			tree.NewFile("linuxfs.md5", 0o644, texts[1]),
			tree.NewFile("vmlinuz", 0o644, []byte("kernel")))
		return tree.NewDir("", 0o755, dir, tree.NewFile("boot.img", 0o644, bytes.Repeat([]byte("boot"), 999)))
	}
	want = build(content, []byte(sumText), []byte(infoText))
	root = build([]byte("not looked at"), nil, nil)
	var file *os.File
	var base int64
	var read []byte
	r = Recipe{VolumeID: "LATE", Boot: []BootImage{{Path: "boot.img"}}, Late: []Late{
		{Path: "/antiX/linuxfs", Max: size, Write: func(_ context.Context, out io.WriterAt, at int64) (int64, error) {
			f, ok := out.(*os.File)
			if !ok {
				return 0, fmt.Errorf("out is a %T", out)
			}
			file, base = f, at
			var g errgroup.Group
			const piece = 1000
			for off := (len(content) - 1) / piece * piece; off >= 0; off -= piece {
				p := content[off:min(off+piece, len(content))]
				g.Go(func() error {
					_, err := out.WriteAt(p, at+int64(off))
					return err
				})
			}
			return int64(len(content)), g.Wait()
		}},
		{Path: "/antiX/linuxfs.md5", Max: 100, Write: func(_ context.Context, out io.WriterAt, at int64) (int64, error) {
			h := md5.New()
			if _, err := io.Copy(h, io.NewSectionReader(file, base, int64(len(content)))); err != nil {
				return 0, err
			}
			read = []byte(hex.EncodeToString(h.Sum(nil)) + "  linuxfs\n")
			n, err := out.WriteAt(read, at)
			return int64(n), err
		}},
		{Path: "/antiX/linuxfs.info", Max: 5000, Write: func(_ context.Context, out io.WriterAt, at int64) (int64, error) {
			n, err := out.WriteAt(fmt.Appendf(nil, "%d bytes, %s", len(content), read), at)
			return int64(n), err
		}},
	}}
	return want, root, r
}

// An image with late files has the tree of one in which they were there
// beforehand, whatever they come to, and whatever lies behind them.
func TestWriteLate(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso")
	for i, size := range []int{0, 1, 2048, 2049, 700_001} {
		rng := rand.New(rand.NewPCG(uint64(i), 3))
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(rng.Uint32())
		}
		want, root, r := lateTree(t, content, int64(size+i*100_000))
		appended := bytes.Repeat([]byte("partition"), 1000)
		if i%2 == 1 {
			r.Appended = []Partition{{Data: tree.Bytes(appended), Size: int64(len(appended))}}
			r.Boot = append(r.Boot, BootImage{Appended: 1, Platform: PlatformEFI})
			r.Disk = &Disk{Table: TableGPT}
		}
		file, rep := writeImage(t, root, r)
		img := openFile(t, file)
		sameTree(t, want, rootOf(t, img), 0)
		if len(rep.Late) != 3 || rep.Late[0].Size != int64(size) || rep.Late[0].Offset >= rep.Late[1].Offset && size > 0 ||
			rep.Late[1].Offset >= rep.Late[2].Offset {
			t.Errorf("%+v", rep)
		}
		for k, name := range []string{"linuxfs", "linuxfs.md5", "linuxfs.info"} {
			n, err := rootOf(t, img).Lookup("antiX/" + name)
			if err != nil {
				t.Fatal(err)
			}
			e, ok := Extents(n)
			if size := rep.Late[k].Size; !ok || size > 0 && (len(e) != 1 || e[0] != Extent{Offset: rep.Late[k].Offset, Length: size}) {
				t.Errorf("%s: %v, but the report has %+v", name, e, rep.Late[k])
			}
		}
		if i%2 == 1 {
			c, err := img.ElTorito()
			if err != nil {
				t.Fatal(err)
			}
			p := make([]byte, len(appended))
			if f, _ := systest.OpenFile(t, file); tree.ReadFull(f, p, int64(c.Entries[1].Block)*sectorSize) != nil ||
				!bytes.Equal(p, appended) {
				t.Error("the appended partition differs")
			}
		}
		dir := filepath.Join(systest.MemDir(t), "x")
		systest.Run(t, "xorriso", "-osirrox", "on:o_excl_off", "-indev", "stdio:"+file, "-extract", "/antiX", dir)
		got, err := os.ReadFile(filepath.Join(dir, "linuxfs.md5"))
		sum := md5.Sum(content)
		if err != nil || !strings.HasPrefix(string(got), hex.EncodeToString(sum[:])) {
			t.Errorf("xorriso reads %q, %v", got, err)
		}
	}
}

// An error of a late file stops the writing, and so does an end of the context;
// no later one is made.
func TestWriteLateFails(t *testing.T) {
	t.Parallel()
	noRoom := errors.New("no room")
	root := tree.NewDir("", 0o755, tree.NewFile("a", 0o644, nil), tree.NewFile("b", 0o644, nil))
	for _, want := range []error{noRoom, context.Canceled} {
		ctx, cancel := context.WithCancel(t.Context())
		ran := false
		p, err := NewPlan(ctx, root, Recipe{Late: []Late{
			{Path: "a", Max: 5, Write: func(context.Context, io.WriterAt, int64) (int64, error) {
				if want == noRoom {
					return 0, noRoom
				}
				cancel()
				return 0, nil
			}},
			{Path: "b", Max: 5, Write: func(context.Context, io.WriterAt, int64) (int64, error) {
				ran = true
				return 0, nil
			}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(t.TempDir(), "x.iso"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write(ctx, f, nil); !errors.Is(err, want) || ran {
			t.Errorf("%v, not %v; the second file was made: %v", err, want, ran)
		}
		f.Close()
		cancel()
	}
}
