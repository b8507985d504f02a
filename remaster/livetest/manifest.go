package livetest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// ManifestFile reads a manifest from gzip.
func ManifestFile(t testing.TB, path string) map[string]tree.Entry {
	t.Helper()
	f, err := os.Open(path)
	systest.Must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	systest.Must(t, err)
	return readManifest(t, z)
}

// ManifestOf is the manifest of a tree, by path.
func ManifestOf(t testing.TB, root *tree.Node) map[string]tree.Entry {
	t.Helper()
	var b bytes.Buffer
	systest.Must(t, tree.WriteManifest(t.Context(), &b, root, tree.ManifestOptions{}))
	return readManifest(t, &b)
}

func readManifest(t testing.TB, r io.Reader) map[string]tree.Entry {
	t.Helper()
	out := map[string]tree.Entry{}
	dec := json.NewDecoder(r)
	for {
		var e tree.Entry
		err := dec.Decode(&e)
		if err == io.EOF {
			return out
		}
		systest.Must(t, err)
		out[e.Path] = e
	}
}

// SameManifest compares two manifests but for what SquashFS cannot hold and the
// stamps, with the directories that were made for them.
func SameManifest(t testing.TB, want, got map[string]tree.Entry) {
	t.Helper()
	paths := slices.Sorted(maps.Keys(want))
	for p := range got {
		if _, ok := want[p]; !ok && !isStamp(p) {
			t.Errorf("%s is too much", p)
		}
	}
	for _, p := range paths {
		w, g := held(want[p]), held(got[p])
		if isStamp(p) {
			continue
		}
		if got[p].Path == "" {
			t.Errorf("%s is missing", p)
		} else if !reflect.DeepEqual(w, g) {
			a, _ := json.Marshal(w)
			b, _ := json.Marshal(g)
			t.Errorf("%s:\n\twant %s\n\tgot  %s", p, a, b)
		}
	}
}

// isStamp reports whether a path leads to or is a file that a compaction changes.
func isStamp(path string) bool {
	for _, s := range Stamps {
		if "/"+s == path {
			return true
		}
	}
	return path == "/etc/live" || path == "/etc/live/version"
}

// held is what SquashFS can hold of an entry.
func held(e tree.Entry) tree.Entry {
	if sec, _, ok := strings.Cut(e.Mtime, "."); ok {
		n, _ := strconv.ParseInt(sec, 10, 64)
		e.Mtime = fmt.Sprint(min(max(n, 0), math.MaxUint32))
	}
	x := map[string]string{}
	for name, v := range e.Xattr {
		if !strings.HasPrefix(name, "system.") {
			x[name] = v
		}
	}
	if e.Xattr = x; len(x) == 0 {
		e.Xattr = nil
	}
	return e
}
