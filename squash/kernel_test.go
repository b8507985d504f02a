package squash

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"relive/tree/hostfs"
)

// Images of every form that the tools make show what the kernel shows when it
// mounts them, and Verify finds nothing in them.
func TestKernel(t *testing.T) {
	requireRoot(t)
	requireTool(t, "mksquashfs", "gensquashfs")
	src := nasty(t)
	for _, args := range []string{
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
		"mksquashfs -comp zstd -b 32K -Xcompression-level 1 -noI -no-fragments",
		"mksquashfs -comp lz4 -Xhc",
		"mksquashfs -comp lz4 -b 16K -noF -noX",
		"mksquashfs -comp lzo -b 512K -Xalgorithm lzo1x_1",
		"gensquashfs -c gzip",
		"gensquashfs -c zstd -b 65536 -T -e",
		"gensquashfs -c xz -b 1048576",
		"gensquashfs -c lz4 -b 4096",
	} {
		t.Run(strings.ReplaceAll(args, " ", "_"), func(t *testing.T) {
			t.Parallel()
			image := filepath.Join(t.TempDir(), "image.sqfs")
			tool, rest, _ := strings.Cut(args, " ")
			if tool == "mksquashfs" {
				run(t, append([]string{tool, src, image, "-no-progress", "-quiet", "-processors", "1"}, strings.Fields(rest)...)...)
			} else {
				run(t, append([]string{tool, "--pack-dir", src, "-x", "-k", "-q", "-j", "1", image}, strings.Fields(rest)...)...)
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
