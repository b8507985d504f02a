package remaster_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"relive/remaster/live"
	"relive/remaster/verify"
	"relive/tree"
	"relive/tree/systest"
)

// TestFixtures: directories whose merged view the kernel showed long ago fold
// into bases that hold that view. This needs no root.
func TestFixtures(t *testing.T) {
	const dir = "testdata/antix-mini"
	images, err := filepath.Glob(dir + "/*.img.zst")
	systest.Must(t, err)
	bases, err := filepath.Glob(dir + "/lower.*.sqfs")
	systest.Must(t, err)
	if len(images) < 9 || len(bases) < 4 {
		t.Fatalf("%d images and %d bases in %s", len(images), len(bases), dir)
	}
	for i, img := range images {
		for j, base := range bases {
			if i > 0 && j != i%len(bases) {
				continue // every image, and all bases with the first
			}
			name := strings.TrimSuffix(filepath.Base(img), ".img.zst")
			t.Run(name+" over "+filepath.Base(base), func(t *testing.T) {
				t.Parallel()
				l := &frugal{t: t, dir: systest.TempDir(t)}
				systest.CopyFile(t, base, l.path("linuxfs"))
				systest.UnpackTo(t, img, l.path("rootfs"))
				want := manifestFile(t, filepath.Join(dir, name+".jsonl.gz"))
				// The raw images lack version files, as init would have put them there.
				o := keepOne()
				o.Force = true
				acls := 0
				for _, e := range want {
					for x := range e.Xattr {
						if strings.HasPrefix(x, "system.posix_acl") {
							acls++
						}
					}
				}
				res := l.compact(o)
				if text := fmt.Sprintf("POSIX ACLs: %d are lost", acls); acls == 0 || !hasWarning(res.Warnings, text) {
					t.Errorf("no warning of %d lost ACLs: %q", acls, res.Warnings)
				}
				sameManifest(t, want, manifestOf(t, openTree(t, l.path("linuxfs"), "")))
				systest.Fsck(t, l.path("rootfs"))
				s := l.status()
				if s.Overlay.Changes.Sum() != 0 || s.Overlay.VIDState != live.VIDMatch {
					t.Errorf("afterwards: %+v, version ids: %s", s.Overlay.Changes, s.Overlay.VIDState)
				}
				check, err := verify.File(t.Context(), environment(t, 0), l.path("linuxfs"))
				if err != nil || !check.OK {
					t.Errorf("verify: %v %v", err, check.Findings)
				}
			})
		}
	}
}

// manifestFile reads a manifest from gzip.
func manifestFile(t testing.TB, path string) map[string]tree.Entry {
	t.Helper()
	f, err := os.Open(path)
	systest.Must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	systest.Must(t, err)
	return readManifest(t, z)
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

func manifestOf(t testing.TB, root *tree.Node) map[string]tree.Entry {
	t.Helper()
	var b bytes.Buffer
	systest.Must(t, tree.WriteManifest(t.Context(), &b, root, tree.ManifestOptions{}))
	return readManifest(t, &b)
}

// sameManifest compares two manifests but for what SquashFS cannot hold and the
// stamps, with the directories that were made for them.
func sameManifest(t testing.TB, want, got map[string]tree.Entry) {
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

// isStamp tells whether a path leads to or is a file that a compaction changes.
func isStamp(path string) bool {
	for _, s := range stamps {
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
