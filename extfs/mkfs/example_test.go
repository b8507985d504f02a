package mkfs_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"relive/extfs/mkfs"
	"relive/tree"
)

// Measure how much room a tree takes and build an image of it.
func ExampleBuild() {
	ctx := context.Background()
	root := tree.NewDir("", 0o755, tree.NewFile("data", 0o644, make([]byte, 1<<20)))
	o := mkfs.Options{Label: "persistence", Size: 64 << 20, BlockSize: 4096}
	needs, err := mkfs.Measure(ctx, root, o)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("fits:", needs.Fits)

	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	f, err := os.Create(filepath.Join(dir, "persistence.img"))
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	report, err := mkfs.Build(ctx, f, root, o)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Size>>20, "MiB,", report.Files, "file,", report.Directories, "directories")

	o.Size = 2 << 20
	o.Features, _ = mkfs.DefaultFeatures().ParseFeatures("^has_journal")
	root = tree.NewDir("", 0o755, tree.NewFile("noise", 0o644, []byte(fmt.Sprintf("%4194304d", 1))))
	_, err = mkfs.Build(ctx, f, root, o)
	fmt.Println(errors.Is(err, mkfs.ErrNoSpace))
	// Output:
	// fits: true
	// 64 MiB, 1 file, 2 directories
	// true
}
