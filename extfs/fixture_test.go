package extfs

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// fixture reads an image: a seed of fuzzing is of this package, others are of the
// fixtures that packages share.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	dir := "../testdata/antix-mini"
	if strings.HasPrefix(name, "seed-") {
		dir = "testdata"
	}
	return systest.Unpack(t, filepath.Join(dir, name+".img.zst"))
}

func openBytes(t testing.TB, img []byte, opts ...Option) *FS {
	t.Helper()
	fs, err := Open(bytes.NewReader(img), int64(len(img)), "image", opts...)
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func rootOf(t testing.TB, fs *FS) *tree.Node {
	t.Helper()
	root, err := fs.Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestFixtures compares images made by the kernel, some copied while they were
// mounted, with what the kernel showed of them.
func TestFixtures(t *testing.T) {
	images, err := filepath.Glob("testdata/*.raw.jsonl.gz")
	if err != nil || len(images) == 0 {
		t.Fatal("no fixtures", err)
	}
	for _, path := range images {
		name := strings.TrimSuffix(filepath.Base(path), ".raw.jsonl.gz")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := readManifest(t, path)
			fs := openBytes(t, fixture(t, name))
			dirty := strings.HasSuffix(name, "-dirty")
			if clean := fs.Info().Journal.Clean || !fs.Info().Journal.Present; clean == dirty {
				t.Errorf("journal: %+v", fs.Info().Journal)
			}
			// The manifests were made after another mount, which cleaned up the
			// overlay's work directory.
			upper, err := rootOf(t, fs).Lookup("upper")
			if err != nil || upper == nil {
				t.Fatal(upper, err)
			}
			seen := 0
			err = tree.Manifest(t.Context(), upper, tree.ManifestOptions{}, func(e tree.Entry) error {
				seen++
				e.Path = strings.TrimSuffix("/upper"+e.Path, "/")
				if e.Link != "" {
					e.Link = "/upper" + e.Link
				}
				if w, ok := want[e.Path]; !ok {
					t.Errorf("%s: not in the kernel's view", e.Path)
				} else if !reflect.DeepEqual(e, w) {
					t.Errorf("%s:\n got %+v\nwant %+v", e.Path, e, w)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if seen != len(want) {
				t.Errorf("%d paths, the kernel shows %d", seen, len(want))
			}
		})
	}
}

func readManifest(t *testing.T, path string) map[string]tree.Entry {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]tree.Entry)
	for d := json.NewDecoder(z); ; {
		var e tree.Entry
		if err := d.Decode(&e); err == io.EOF {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		if e.Path == "/upper" || strings.HasPrefix(e.Path, "/upper/") {
			out[e.Path] = e
		}
	}
}
