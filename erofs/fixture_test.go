package erofs

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"relive/codec"
	"relive/tree"
	"relive/tree/systest"
)

// library gives the codecs that the environment asks for.
func library(t testing.TB) *codec.Library {
	t.Helper()
	lib, err := loadLibrary()
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

var loadLibrary = sync.OnceValues(func() (*codec.Library, error) {
	mode, err := codec.ParseMode(os.Getenv("RELIVE_CODECS"))
	if err != nil {
		return nil, err
	}
	return codec.Open(mode)
})

// fixtures are the images that packages share, with what Linux 6.18 showed of each.
var fixtures = map[string]string{
	"chunk-64k-193": "tree-chunk", "deflate-64k-frag-193": "tree", "lz4hc-15": "tree-lz4hc-15", "lz4hc-dedupe-193": "tree",
	"lz4hc-ztail-193": "tree", "lzma-archiso-193": "tree", "lzma-fedora-193": "tree", "lzma-fedora42-186": "tree",
	"plain-15": "tree-15", "plain-193": "tree-plain", "plain-48bit-193": "tree-48bit", "plain-inlinexattr-193": "tree-plain",
	"part-48bit-dedupe-194": "part-48bit", "part-48bit-lz4-194": "part-48bit", "part-48bit-zstd-194": "part-48bit",
	"part-bs512-194": "part", "part-prefix-194": "part", "partial-lzma-194": "partial", "partial-zstd-194": "partial",
	"wide-zstd-64k-193": "wide", "zstd-bs1024-193": "tree", "zstd-lorax-193": "tree",
}

// refused are those of what is not read, with what is said of them.
var refused = map[string]string{
	"refused-metabox-194": "the image has compressed metadata (feature METABOX, 0x100)",
	"refused-blobdev-194": "the image has data on 1 extra devices (feature DEVICE_TABLE, 0x8)",
}

// What is not read is refused by the feature's name.
func TestRefused(t *testing.T) {
	for name, want := range refused {
		b := fixture(t, name)
		_, err := Open(bytes.NewReader(b), int64(len(b)), name, library(t))
		if !errors.Is(err, tree.ErrUnsupported) || err.Error() != name+": superblock: "+want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const fixtureDir = "../testdata/erofs/"

var (
	fixtureMu    sync.Mutex
	fixtureBytes = map[string][]byte{}
)

// fixture gives an image, which the caller does not modify.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	fixtureMu.Lock()
	defer fixtureMu.Unlock()
	if fixtureBytes[name] == nil {
		fixtureBytes[name] = systest.Unpack(t, fixtureDir+name+".erofs.zst")
	}
	return fixtureBytes[name]
}

// openBytes opens an image in memory.
func openBytes(t testing.TB, b []byte, opts ...Option) *Reader {
	t.Helper()
	r, err := Open(bytes.NewReader(b), int64(len(b)), "image", library(t), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// rootOf gives the root directory of an image.
func rootOf(t testing.TB, r *Reader) *tree.Node {
	t.Helper()
	root, err := r.Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// line is what a manifest tells of one path: an entry, and of what is no directory the
// number of links.
type line struct {
	tree.Entry
	Nlink uint32 `json:"nlink"`
}

// kernelManifest reads what a kernel showed of a fixture.
func kernelManifest(t testing.TB, name string) map[string]line {
	t.Helper()
	f, err := os.Open(fixtureDir + name + ".jsonl.gz")
	systest.Must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	systest.Must(t, err)
	out := map[string]line{}
	s := bufio.NewScanner(z)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var l line
		systest.Must(t, json.Unmarshal(s.Bytes(), &l))
		out[l.Path] = l
	}
	systest.Must(t, s.Err())
	return out
}

// manifest walks a tree; the lines are by path. Directories count no links, as what
// the kernel shows of them depends on the file system that they came from.
func manifest(t testing.TB, root *tree.Node) map[string]line {
	t.Helper()
	out := map[string]line{}
	systest.Must(t, tree.Manifest(t.Context(), root, tree.ManifestOptions{}, func(e tree.Entry) error {
		out[e.Path] = line{Entry: e}
		return nil
	}))
	systest.Must(t, tree.Walk(t.Context(), root, func(path string, n *tree.Node) error {
		if n.Type != tree.Directory {
			p := tree.Escape("/" + path)
			l := out[p]
			l.Nlink = n.Nlink
			out[p] = l
		}
		return nil
	}))
	return out
}

// compareManifests reports every difference of got from want.
func compareManifests(t testing.TB, got, want map[string]line) {
	t.Helper()
	for p, w := range want {
		g, ok := got[p]
		if !ok {
			t.Errorf("%s: missing", p)
			continue
		}
		gj, _ := json.Marshal(g)
		wj, _ := json.Marshal(w)
		if string(gj) != string(wj) {
			t.Errorf("%s:\n got %s\nwant %s", p, gj, wj)
		}
	}
	for p := range got {
		if _, ok := want[p]; !ok {
			t.Errorf("%s: not in the reference", p)
		}
	}
}

// Every fixture shows what the kernel showed of it, with the system's libraries and
// without them.
func TestFixtures(t *testing.T) {
	images, err := filepath.Glob(fixtureDir + "*.erofs.zst")
	systest.Must(t, err)
	for _, image := range images {
		name := strings.TrimSuffix(filepath.Base(image), ".erofs.zst")
		if fixtures[name] == "" && refused[name] == "" {
			t.Errorf("%s is in no list", name)
		}
	}
	if len(images) != len(fixtures)+len(refused) {
		t.Errorf("%d fixtures of %d", len(images), len(fixtures)+len(refused))
	}
	pure, err := codec.Open(codec.Go)
	systest.Must(t, err)
	for name, reference := range fixtures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture(t, name)
			want := kernelManifest(t, reference)
			for _, lib := range []*codec.Library{library(t), pure} {
				r, err := Open(bytes.NewReader(b), int64(len(b)), name, lib)
				systest.Must(t, err)
				defer r.Close()
				compareManifests(t, manifest(t, rootOf(t, r)), want)
			}
		})
	}
}

// What the superblock tells of images.
func TestInfo(t *testing.T) {
	for name, want := range map[string]struct {
		algorithms []codec.Raw
		features   string
		blockSize  int
		packed     bool
	}{
		"plain-193":         {[]codec.Raw{codec.RawLZ4}, "", 4096, false},
		"lzma-archiso-193":  {[]codec.Raw{codec.MicroLZMA}, "0padding compr_cfgs ztailpacking", 4096, false},
		"lzma-fedora-193":   {[]codec.Raw{codec.MicroLZMA}, "0padding compr_cfgs fragments", 4096, true},
		"zstd-bs1024-193":   {[]codec.Raw{codec.RawZstd}, "0padding compr_cfgs fragments", 1024, true},
		"plain-48bit-193":   {[]codec.Raw{codec.RawLZ4}, "48bit", 4096, false},
		"lz4hc-dedupe-193":  {[]codec.Raw{codec.RawLZ4}, "0padding fragments", 4096, false},
		"chunk-64k-193":     {[]codec.Raw{codec.RawLZ4}, "chunked_file", 4096, false},
		"wide-zstd-64k-193": {[]codec.Raw{codec.RawZstd}, "0padding compr_cfgs", 4096, false},
	} {
		i := openBytes(t, fixture(t, name)).Info()
		if !slices.Equal(i.Algorithms, want.algorithms) || strings.Join(i.Features(), " ") != want.features ||
			i.BlockSize != want.blockSize || i.Packed > 0 != want.packed || i.UUID[0] != 0x11 || i.Inodes == 0 || i.Label != "" {
			t.Errorf("%s: %+v, %v", name, i, i.Features())
		}
	}
}

// openFile opens an image in a file.
func openFile(t testing.TB, path string) *Reader {
	t.Helper()
	f, size := systest.OpenFile(t, path)
	r, err := Open(f, size, filepath.Base(path), library(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}
