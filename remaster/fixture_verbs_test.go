package remaster_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relive/codec"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/refusal"
	"relive/remaster/reset"
	"relive/remaster/resize"
	"relive/remaster/save"
	"relive/remaster/synchome"
	"relive/remaster/update"
	"relive/tree"
	"relive/tree/systest"
)

// TestFixtureVerbs: of directories whose merged view the kernel showed long ago,
// the kernel shows after each verb what is made by hand of that view.
func TestFixtureVerbs(t *testing.T) {
	livetest.NeedKernel(t)
	const dir = "../testdata/antix-mini"
	images, err := filepath.Glob(dir + "/*.img.zst")
	systest.Must(t, err)
	bases, err := filepath.Glob(dir + "/lower.*.sqfs")
	systest.Must(t, err)
	if len(images) < 9 || len(bases) < 4 {
		t.Fatalf("%d images and %d bases in %s", len(images), len(bases), dir)
	}
	for i, img := range images {
		name := strings.TrimSuffix(filepath.Base(img), ".img.zst")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := &livetest.Live{T: t, Dir: systest.TempDir(t)}
			if strings.Contains(name, "metacopy") {
				start.Options = "redirect_dir=on,metacopy=on"
			}
			systest.CopyFile(t, bases[i%len(bases)], start.Path("linuxfs"))
			systest.UnpackTo(t, img, start.Path("rootfs"))
			before := start.View()
			livetest.SameManifest(t, livetest.ManifestFile(t, filepath.Join(dir, name+".jsonl.gz")),
				livetest.ManifestOf(t, livetest.OpenDir(t, before)))
			base, _ := systest.Mount(t, "squashfs", "loop,ro", start.Path("linuxfs"))
			// Each gives the directory that holds what is to be there.
			verbs := map[string]func(t *testing.T, l *livetest.Live) string{
				"resize": func(t *testing.T, l *livetest.Live) string {
					livetest.Resize(t, l.Dir, resize.Options{Overlay: &resize.NewSize{Kind: resize.SizeMore, Bytes: 16 << 20}})
					return before
				},
				"reset": func(t *testing.T, l *livetest.Live) string {
					livetest.Reset(t, l.Dir, reset.Options{Force: true, KeepOld: 1})
					return base
				},
				"reset, all kept": func(t *testing.T, l *livetest.Live) string {
					livetest.Reset(t, l.Dir, reset.Options{Force: true, Keep: livetest.KeepRules(t, "**")})
					return before
				},
				"sync-home": func(t *testing.T, l *livetest.Live) string {
					hand := livetest.Duplicate(t, before)
					livetest.InHomes(t, l.Path("homefs"), "", func(mnt string) {
						livetest.Write(t, mnt+"/anna/notes", []byte("new"), 0o600)
						systest.Must(t, os.Link(mnt+"/anna/notes", mnt+"/anna/linked"))
						systest.Run(t, "cp", "-a", mnt+"/.", homeOf(t, hand))
					})
					systest.Must(t, os.RemoveAll(hand+"/home/lost+found"))
					livetest.SyncHome(t, l.Dir, synchome.Options{NoDelete: true, Force: true, Grow: true})
					return hand
				},
				"save": func(t *testing.T, l *livetest.Live) string {
					ram := systest.MemDir(t)
					root, drop := systest.Mount(t, "auto", "loop", l.Path("rootfs"))
					systest.Run(t, "cp", "-a", root+"/upper", ram)
					drop()
					systest.Must(t, os.Remove(l.Path("rootfs")))
					l.Mkfs("-t", "ext4", "-b", "4096")
					livetest.Save(t, l.Dir, ram, save.Options{All: true, Force: true})
					return before
				},
				"rebase": func(t *testing.T, l *livetest.Live) string {
					newer, hand := livetest.Duplicate(t, base), livetest.Duplicate(t, before)
					for _, d := range []string{newer, hand} {
						livetest.Write(t, d+"/newer/and deeper/file", livetest.Text(3, 70_000), 0o640)
						systest.Run(t, "touch", "-d", "@1700000000", d+"/newer/and deeper/file")
					}
					onto := systest.TempDir(t) + "/base"
					systest.Run(t, "mksquashfs", newer, onto, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
					e := livetest.Env(t, codec.Auto)
					opened, err := live.Open(t.Context(), e, l.Dir)
					systest.Must(t, err)
					defer opened.Close()
					from, err := opened.OpenBase(e, onto)
					systest.Must(t, err)
					defer from.Close()
					p, err := update.New(t.Context(), e, opened, from, update.Options{Overlay: update.OverlayRebase, Force: true,
						NoKernel: true})
					if err != nil {
						t.Fatalf("%v (hint: %s)", err, refusal.Hint(err))
					}
					_, err = p.Run(t.Context())
					systest.Must(t, err)
					return hand
				},
			}
			var names []string
			for verb := range verbs {
				names = append(names, verb)
			}
			slices.Sort(names)
			for _, verb := range names {
				l := &livetest.Live{T: t, Dir: livetest.Duplicate(t, start.Dir), Options: start.Options}
				hand := verbs[verb](t, l)
				systest.Fsck(t, l.Path("rootfs"))
				// Directories that something is made in get another time by hand.
				timeless := func(root *tree.Node) *tree.Node {
					return livetest.Untimed(livetest.Without(t, root, append([]string{"lost+found", "etc/live"}, livetest.Stamps...)...))
				}
				livetest.Same(t, "by hand", verb+", by the kernel", timeless(livetest.OpenDir(t, hand)),
					timeless(livetest.OpenDir(t, l.View())), tree.CompareOptions{Links: true})
			}
		})
	}
}

// homeOf returns the directory of homes of a system.
func homeOf(t testing.TB, root string) string {
	t.Helper()
	systest.Must(t, os.MkdirAll(root+"/home", 0o755))
	return root + "/home/"
}
