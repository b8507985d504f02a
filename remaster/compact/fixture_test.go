package compact_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/verify"
	"relive/tree/systest"
)

// TestFixtures: directories whose merged view the kernel showed long ago fold
// into bases that hold that view. This needs no root.
func TestFixtures(t *testing.T) {
	const dir = "../../testdata/antix-mini"
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
				l := &livetest.Live{T: t, Dir: systest.TempDir(t)}
				systest.CopyFile(t, base, l.Path("linuxfs"))
				systest.UnpackTo(t, img, l.Path("rootfs"))
				want := livetest.ManifestFile(t, filepath.Join(dir, name+".jsonl.gz"))
				// The raw images lack version files, as init would have put them there.
				o := livetest.KeepOne()
				o.Force = true
				acls := 0
				for _, e := range want {
					for x := range e.Xattr {
						if strings.HasPrefix(x, "system.posix_acl") {
							acls++
						}
					}
				}
				res := l.Compact(o)
				if text := fmt.Sprintf("POSIX ACLs: %d are lost", acls); acls == 0 || !livetest.HasWarning(res.Warnings, text) {
					t.Errorf("no warning of %d lost ACLs: %q", acls, res.Warnings)
				}
				livetest.SameManifest(t, want, livetest.ManifestOf(t, livetest.OpenTree(t, l.Path("linuxfs"), "")))
				systest.Fsck(t, l.Path("rootfs"))
				s := l.Status()
				if s.Overlay.Changes.Sum() != 0 || s.Overlay.VIDState != live.VIDMatch {
					t.Errorf("afterwards: %+v, version ids: %s", s.Overlay.Changes, s.Overlay.VIDState)
				}
				check, err := verify.File(t.Context(), livetest.Env(t, 0), l.Path("linuxfs"))
				if err != nil || !check.OK {
					t.Errorf("verify: %v %v", err, check.Findings)
				}
			})
		}
	}
}
