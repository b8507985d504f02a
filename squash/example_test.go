package squash_test

import (
	"context"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"testing/fstest"

	"relive/codec"
	"relive/squash"
	"relive/tree"
)

// Write an image of an fs.FS, open it and list it.
func Example() {
	lib, err := codec.Open(codec.Go)
	if err != nil {
		log.Fatal(err)
	}
	root, err := tree.FromFS(fstest.MapFS{
		"etc/hostname": {Data: []byte("live\n"), Mode: 0o644},
		"usr/bin/sh":   {Data: []byte("..."), Mode: 0o755},
	})
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	const blockSize = 128 << 10
	plan, err := squash.NewPlan(ctx, root, squash.WriteOptions{
		Library:   lib,
		Codec:     codec.DefaultOptions(codec.Zstd, blockSize),
		BlockSize: blockSize,
		MkfsTime:  1_700_000_000,
	})
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	f, err := os.Create(filepath.Join(dir, "image.squashfs"))
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	report, err := plan.Write(ctx, f, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Inodes, "inodes")

	image, err := squash.Open(f, report.Size, "image.squashfs", lib)
	if err != nil {
		log.Fatal(err)
	}
	defer image.Close()
	written, err := image.Root()
	if err != nil {
		log.Fatal(err)
	}
	err = fs.WalkDir(tree.FS(written), ".", func(path string, d fs.DirEntry, err error) error {
		fmt.Println(path)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 6 inodes
	// .
	// etc
	// etc/hostname
	// usr
	// usr/bin
	// usr/bin/sh
}
