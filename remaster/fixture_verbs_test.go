package remaster_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/reset"
	"relive/remaster/resize"
	"relive/remaster/save"
	"relive/remaster/synchome"
	"relive/remaster/update"
	"relive/squash/codec"
	"relive/tree"
	"relive/tree/systest"
)

// TestFixtureVerbs: of directories whose merged view the kernel showed long ago,
// the kernel shows after each verb what is made by hand of that view.
func TestFixtureVerbs(t *testing.T) {
	requireKernel(t)
	const dir = "testdata/antix-mini"
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
			start := &frugal{t: t, dir: systest.TempDir(t)}
			if strings.Contains(name, "metacopy") {
				start.options = "redirect_dir=on,metacopy=on"
			}
			systest.CopyFile(t, bases[i%len(bases)], start.path("linuxfs"))
			systest.UnpackTo(t, img, start.path("rootfs"))
			before := start.view()
			sameManifest(t, manifestFile(t, filepath.Join(dir, name+".jsonl.gz")), manifestOf(t, openDir(t, before)))
			base, _ := systest.Mount(t, "squashfs", "loop,ro", start.path("linuxfs"))
			// Each gives the directory that holds what is to be there.
			verbs := map[string]func(t *testing.T, l *frugal) string{
				"resize": func(t *testing.T, l *frugal) string {
					runResize(t, l.dir, resize.Options{Overlay: &resize.NewSize{Kind: resize.SizeMore, Bytes: 16 << 20}})
					return before
				},
				"reset": func(t *testing.T, l *frugal) string {
					runReset(t, l.dir, reset.Options{Force: true, KeepOld: 1})
					return base
				},
				"reset, all kept": func(t *testing.T, l *frugal) string {
					runReset(t, l.dir, reset.Options{Force: true, Keep: keepRules(t, "**")})
					return before
				},
				"sync-home": func(t *testing.T, l *frugal) string {
					hand := duplicate(t, before)
					inHomes(t, l.path("homefs"), "", func(mnt string) {
						write(t, mnt+"/anna/notes", []byte("new"), 0o600)
						systest.Must(t, os.Link(mnt+"/anna/notes", mnt+"/anna/linked"))
						systest.Run(t, "cp", "-a", mnt+"/.", homeOf(t, hand))
					})
					systest.Must(t, os.RemoveAll(hand+"/home/lost+found"))
					mustSync(t, l.dir, synchome.Options{NoDelete: true, Force: true, Grow: true})
					return hand
				},
				"save": func(t *testing.T, l *frugal) string {
					ram := systest.MemDir(t)
					root, drop := systest.Mount(t, "auto", "loop", l.path("rootfs"))
					systest.Run(t, "cp", "-a", root+"/upper", ram)
					drop()
					systest.Must(t, os.Remove(l.path("rootfs")))
					l.mkfs("-t", "ext4", "-b", "4096")
					mustSave(t, l.dir, ram, save.Options{All: true, Force: true})
					return before
				},
				"rebase": func(t *testing.T, l *frugal) string {
					newer, hand := duplicate(t, base), duplicate(t, before)
					for _, d := range []string{newer, hand} {
						write(t, d+"/newer/and deeper/file", text(3, 70_000), 0o640)
						systest.Run(t, "touch", "-d", "@1700000000", d+"/newer/and deeper/file")
					}
					onto := systest.TempDir(t) + "/base"
					systest.Run(t, "mksquashfs", newer, onto, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
					e := environment(t, codec.Auto)
					opened, err := live.Open(t.Context(), e, l.dir)
					systest.Must(t, err)
					defer opened.Close()
					from, err := opened.OpenBase(e, onto)
					systest.Must(t, err)
					defer from.Close()
					p, err := update.New(t.Context(), e, opened, from, update.Options{Overlay: update.OverlayRebase, Force: true, NoKernel: true})
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
				l := &frugal{t: t, dir: duplicate(t, start.dir), options: start.options}
				hand := verbs[verb](t, l)
				systest.Fsck(t, l.path("rootfs"))
				// Directories that something is made in get another time by hand.
				timeless := func(root *tree.Node) *tree.Node {
					return untimed(without(t, root, append([]string{"lost+found", "etc/live"}, stamps...)...))
				}
				same(t, "by hand", verb+", by the kernel", timeless(openDir(t, hand)), timeless(openDir(t, l.view())), tree.CompareOptions{Links: true})
			}
		})
	}
}

// homeOf gives the directory of homes of a system.
func homeOf(t testing.TB, root string) string {
	t.Helper()
	systest.Must(t, os.MkdirAll(root+"/home", 0o755))
	return root + "/home/"
}
