package extfs_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"relive/extfs"
	"relive/extfs/mkfs"
	"relive/tree"
)

// Open an image and list a directory of it. An image that was not cleanly
// unmounted shows what it holds after the recovery of its journal.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	f, err := os.Create(filepath.Join(dir, "rootfs.img"))
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	content := tree.NewDir("", 0o755, tree.NewDir("etc", 0o755, tree.NewFile("hostname", 0o644, []byte("live\n"))))
	report, err := mkfs.Build(context.Background(), f, content, mkfs.Options{Label: "rootfs"})
	if err != nil {
		log.Fatal(err)
	}

	image, err := extfs.Open(f, report.Size, "rootfs.img")
	if err != nil {
		log.Fatal(err)
	}
	info := image.Info()
	fmt.Println(info.Kind, info.Label, info.Clean)
	root, err := image.Root()
	if err != nil {
		log.Fatal(err)
	}
	etc, err := root.Lookup("etc")
	if err != nil {
		log.Fatal(err)
	}
	entries, err := etc.Children()
	if err != nil {
		log.Fatal(err)
	}
	for _, n := range entries {
		text, err := tree.ReadAll(n, 1<<10)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %q\n", n.Name, text)
	}
	// Output:
	// ext4 rootfs true
	// hostname: "live\n"
}
