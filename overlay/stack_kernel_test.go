package overlay

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/tree/systest"

	"golang.org/x/sys/unix"
)

// TestKernelModules: SquashFS modules stacked as live-boot and casper stack
// them. Each was the upper layer over those below it, so they hold whiteouts,
// opaque marks, redirects and metacopies; each is a file system of its own. The
// kernel's view of the modules alone, and with an upper layer in which things
// were done, is Merge's.
func TestKernelModules(t *testing.T) {
	requireOverlay(t)
	systest.NeedTools(t, "mksquashfs")
	for i, options := range []string{"", "redirect_dir=on", "redirect_dir=on,metacopy=on", "redirect_dir=on,metacopy=on", "userxattr",
		"xino=on,redirect_dir=on"} {
		for _, seed := range seeds(t, 1) {
			modules := 2 + i%3
			t.Run(fmt.Sprintf("%s/modules=%d/seed=%d", options, modules, seed), func(t *testing.T) {
				t.Parallel()
				k := newKernel(t)
				h := &hand{r: rand.New(rand.NewPCG(seed, 6)), root: k.addLower(t), fail: map[string]int{}}
				h.play(120)
				h.root = k.mnt
				for range modules - 1 {
					k.mount(t, options, false)
					h.play(70)
					k.umount(t)
					k.push(t)
				}
				for i, dir := range k.lower {
					image := dir + ".squashfs"
					systest.Run(t, "mksquashfs", dir, image, "-quiet", "-no-progress")
					at := filepath.Join(k.dir, fmt.Sprint("module", i))
					systest.Must(t, os.Mkdir(at, 0o755))
					systest.MountAt(t, "", "loop,ro", image, at)
					k.lower[i] = at
				}
				k.umountInTheEnd(t)
				layers := k.layersOf(t, options)
				alone := k.stack(t, "alone", options, k.lower...)
				diff(t, "kernel", "modules", alone, merge(t, []Option{CleanBase()}, layers[1:]...))

				k.mount(t, options, false)
				h.play(60)
				k.umount(t)
				k.mount(t, options, true)
				layers = k.layersOf(t, options)
				diff(t, "kernel", "merge", open(t, k.mnt), merge(t, []Option{CleanBase()}, layers...))
				// Also folded into the uppermost module.
				below := merge(t, []Option{KeepEscaped()}, layers[2:]...)
				merged := merge(t, []Option{KeepEscaped()}, layers...)
				top := difference(t, below, merged, DifferenceOptions{Namespace: layers[0].Namespace, Escaped: true, TrustInode: true})
				again := append([]Layer{{Root: top, Namespace: layers[0].Namespace}}, layers[2:]...)
				diff(t, "kernel", "folded", open(t, k.mnt), merge(t, []Option{CleanBase()}, again...))
				k.umount(t)
				if t.Failed() {
					t.Logf("OVERLAY_SEED=%d", seed)
				}
			})
		}
	}
}

// layersOf opens layers each of which is a file system of its own.
func (k *kernel) layersOf(t *testing.T, options string) []Layer {
	t.Helper()
	ns := Trusted
	if strings.Contains(options, "userxattr") {
		ns = User
	}
	out := []Layer{{Root: open(t, k.upper), Namespace: ns}}
	for _, dir := range k.lower {
		out = append(out, Layer{Root: open(t, dir), Namespace: ns})
	}
	return out
}

// TestKernelCraftedStack: the same for lower layers alone that nobody wrote by
// mounting them.
func TestKernelCraftedStack(t *testing.T) {
	requireOverlay(t)
	for layers := 2; layers <= 4; layers++ {
		for _, seed := range seeds(t, 4) {
			t.Run(fmt.Sprintf("layers=%d/seed=%d", layers, seed), func(t *testing.T) {
				t.Parallel()
				k := newKernel(t)
				c := &crafter{t: t, r: rand.New(rand.NewPCG(seed, 7)), p: "trusted.overlay."}
				for range layers {
					c.fill(k.addLower(t), 0)
				}
				options := "redirect_dir=follow,metacopy=on"
				k.stack(t, "mnt-stack", options, k.lower...)
				m, err := Merge(k.layers(t, options)[1:], CleanBase())
				if err != nil {
					t.Fatal(err)
				}
				seen := 0
				at := k.dir + "/mnt-stack"
				sameLookups(t, at, m.Root(), 0, &seen, func(path string, st *unix.Stat_t) error {
					systest.Must(t, unix.Unmount(at, 0))
					systest.Must(t, unix.Mount("overlay", at, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(k.lower, ":")+","+
						options))
					return unix.Lstat(path, st)
				})
				if t.Failed() {
					t.Logf("OVERLAY_SEED=%d", seed)
				}
			})
		}
	}
}
