package squash

import (
	"context"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/tree/hostfs"
	"relive/tree/systest"
)

// Images of every form that the tools make show what the kernel shows when it
// mounts them, and Verify finds nothing in them.
func TestKernel(t *testing.T) {
	systest.NeedRoot(t, "mksquashfs", "gensquashfs")
	src := nasty(t)
	for i, args := range []string{
		"mksquashfs -comp gzip",
		"mksquashfs -comp gzip -b 4096 -always-use-fragments",
		"mksquashfs -comp gzip -b 1M -noI -noId -noX",
		"mksquashfs -comp gzip -noD -noF -no-exports",
		"mksquashfs -comp gzip -noI -noD -noF -noX -noId",
		"mksquashfs -comp gzip -no-fragments -no-sparse",
		"mksquashfs -comp gzip -b 64K -no-xattrs -no-duplicates",
		"mksquashfs -comp gzip -Xstrategy huffman_only,fixed -Xwindow-size 9 -no-fragments",
		"mksquashfs -comp xz -b 256K -Xbcj x86,arm",
		"mksquashfs -comp xz -b 1M -Xdict-size 25% -tailends",
		"mksquashfs -comp zstd -b 1M -Xcompression-level 3 -no-exports",
		"mksquashfs -comp zstd -b 8K -Xcompression-level 3 -always-use-fragments",
		"mksquashfs -comp lz4 -Xhc",
		"gensquashfs -c gzip",
		"mksquashfs -comp lzo -b 512K -Xalgorithm lzo1x_1",
		"gensquashfs -c zstd -b 65536 -T -e",
		"gensquashfs -c xz -b 1048576",
	} {
		if testing.Short() && i%2 != 0 {
			continue // every codec is among the others
		}
		t.Run(strings.ReplaceAll(args, " ", "_"), func(t *testing.T) {
			t.Parallel()
			image := filepath.Join(systest.MemDir(t), "image.sqfs")
			tool, rest, _ := strings.Cut(args, " ")
			if tool == "mksquashfs" {
				systest.Run(t, tool, append([]string{src, image, "-no-progress", "-quiet", "-processors", "1"}, strings.Fields(rest)...)...)
			} else {
				systest.Run(t, tool, append([]string{"--pack-dir", src, "-x", "-k", "-q", "-j", "1", image}, strings.Fields(rest)...)...)
			}
			compareWithKernel(t, image)
		})
	}
}

// compareWithKernel mounts an image and compares.
func compareWithKernel(t *testing.T, image string) {
	t.Helper()
	host, err := hostfs.Open(mount(t, image))
	if err != nil {
		t.Fatal(err)
	}
	r := openFile(t, image)
	compareManifests(t, manifest(t, rootOf(t, r)), manifest(t, host))
	verifyClean(t, r)
}

// verifyClean runs Verify, which must find nothing.
func verifyClean(t testing.TB, r *Reader) *VerifyReport {
	t.Helper()
	report, err := Verify(context.Background(), r, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range report.Findings {
		if t.Errorf("warning %v: %v", f.Warning, f); i > 10 {
			break
		}
	}
	return report
}

// Images that mksquashfs appended to, an empty one, one without padding, and
// one of a tree without a single file.
func TestKernelOdd(t *testing.T) {
	systest.NeedRoot(t, "mksquashfs")
	t.Parallel()
	n := &tenant{t: t, dir: t.TempDir(), rnd: rand.New(rand.NewSource(3))}
	n.file("one/a/file", n.text(200000))
	n.file("one/a/b/other", n.random(5000))
	n.file("two/c/d/third", n.random(300000))
	n.file("two/e", n.text(10))
	n.xattr(n.path("one/a/file"), "user.a", "1")
	n.xattr(n.path("two/e"), "user.b", "2")
	n.ok(os.MkdirAll(n.path("empty"), 0o711))
	n.ok(os.MkdirAll(n.path("dirs/x/y"), 0o711))
	make := func(name string, args ...string) string {
		image := filepath.Join(n.dir, name)
		systest.Run(t, "mksquashfs", append(args, image, "-quiet", "-no-progress")...)
		return image
	}

	image := make("append.sqfs", n.path("one"))
	for _, keep := range [][]string{nil, {"-keep-as-directory"}, {"-root-becomes", "old"}} {
		systest.Run(t, "mksquashfs", append([]string{n.path("two"), image, "-quiet", "-no-progress", "-no-recovery"}, keep...)...)
		// A mounted image must not change.
		copied := filepath.Join(t.TempDir(), "copy.sqfs")
		systest.Run(t, "cp", image, copied)
		compareWithKernel(t, copied)
	}
	compareWithKernel(t, make("empty.sqfs", n.path("empty")))
	compareWithKernel(t, make("dirs.sqfs", n.path("dirs")))

	bare := filepath.Join(n.dir, "bare.sqfs")
	systest.Run(t, "mksquashfs", n.path("one"), bare, "-quiet", "-no-progress", "-nopad")
	report, err := Verify(context.Background(), openFile(t, bare), VerifyOptions{})
	if err != nil || len(report.Findings) != 1 || report.Damaged() || report.Findings[0].Place != "padding" {
		t.Errorf("%+v, %v", report, err)
	}
}
