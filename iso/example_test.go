package iso_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"relive/iso"
	"relive/tree"
)

// Write an image that BIOS firmware boots, and look at it.
func ExampleNewPlan() {
	ctx := context.Background()
	root := tree.NewDir("", 0o755,
		tree.NewDir("boot", 0o755, tree.NewFile("loader.bin", 0o644, make([]byte, 4096))),
		tree.NewFile("read me.txt", 0o644, []byte("hello\n")))
	plan, err := iso.NewPlan(ctx, root, iso.Recipe{
		VolumeID: "EXAMPLE",
		Boot:     []iso.BootImage{{Path: "boot/loader.bin"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	f, err := os.Create(filepath.Join(dir, "example.iso"))
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	report, err := plan.Write(ctx, f, nil)
	if err != nil {
		log.Fatal(err)
	}

	image, err := iso.Open(f, report.Size, "example.iso")
	if err != nil {
		log.Fatal(err)
	}
	catalog, err := image.ElTorito()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(image.Info().VolumeID, "by", image.Names(), "with", len(catalog.Entries), "boot image")
	written, err := image.Root()
	if err != nil {
		log.Fatal(err)
	}
	err = tree.Walk(ctx, written, func(path string, n *tree.Node) error {
		if n.Type == tree.Regular {
			fmt.Println(path, n.Size)
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// EXAMPLE by Rock Ridge with 1 boot image
	// boot/loader.bin 4096
	// read me.txt 6
}
