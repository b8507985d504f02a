package squash

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"relive/codec"
	"relive/tree"
	"relive/tree/systest"
)

// library returns the codecs that the environment asks for.
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

// openBytes opens an image in memory.
func openBytes(t testing.TB, b []byte) *Reader {
	t.Helper()
	r, err := Open(bytes.NewReader(b), int64(len(b)), "image", library(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
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

// rootOf returns the root directory of an image.
func rootOf(t testing.TB, r *Reader) *tree.Node {
	t.Helper()
	root, err := r.Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// kernelManifest reads what a kernel showed of the fixtures' tree.
func kernelManifest(t testing.TB) map[string]line {
	t.Helper()
	f, err := os.Open("testdata/lower.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]line)
	s := bufio.NewScanner(z)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		p, err := url.PathUnescape(l.Path)
		if err != nil {
			t.Fatal(err)
		}
		out[p] = l
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// The images of one tree in four codecs show what the kernel showed.
func TestFixtures(t *testing.T) {
	want := kernelManifest(t)
	images, err := filepath.Glob(imagePath("lower.*"))
	if err != nil || len(images) != 4 {
		t.Fatalf("%d fixtures, %v", len(images), err)
	}
	for _, image := range images {
		t.Run(strings.Split(filepath.Base(image), ".")[1], func(t *testing.T) {
			t.Parallel()
			r := openFile(t, image)
			got := manifest(t, rootOf(t, r))
			for p, l := range got {
				l.Holes = ""
				if w := want[p]; l.Type == "d" {
					l.Nlink = w.Nlink
				}
				got[p] = l
			}
			compareManifests(t, got, want)
			if report := verifyClean(t, r); report.Entries != int64(len(want)-1) {
				t.Errorf("%d entries in %d paths", report.Entries, len(want))
			}
		})
	}
}
