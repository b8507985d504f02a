package erofs_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"

	"github.com/klauspost/compress/zstd"

	"relive/codec"
	"relive/erofs"
	"relive/tree"
)

// image gives an image of the tests, which zstd keeps small.
func image() []byte {
	packed, err := os.ReadFile("../testdata/erofs/lzma-fedora-193.erofs.zst")
	if err != nil {
		log.Fatal(err)
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	b, err := d.DecodeAll(packed, nil)
	if err != nil {
		log.Fatal(err)
	}
	return b
}

// An image is a tree, whose files are read where one likes.
func ExampleOpen() {
	b := image()
	lib, err := codec.Open(codec.Auto)
	if err != nil {
		log.Fatal(err)
	}
	r, err := erofs.Open(bytes.NewReader(b), int64(len(b)), "fedora.img", lib)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	fmt.Printf("%v %v\n", r.Info().Algorithms, r.Info().Features())
	root, err := r.Root()
	if err != nil {
		log.Fatal(err)
	}
	n, err := root.Lookup("one-small")
	if err != nil {
		log.Fatal(err)
	}
	content, err := tree.ReadAll(n, 1<<20)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%o %d %q\n", n.Perm, n.Nlink, content)
	// Output:
	// [lzma] [0padding compr_cfgs fragments]
	// 644 2 "hello\n"
}

// Verify tells what is damaged, and where.
func ExampleVerify() {
	b := image()
	b[len(b)-5000] ^= 1
	lib, err := codec.Open(codec.Go)
	if err != nil {
		log.Fatal(err)
	}
	r, err := erofs.Open(bytes.NewReader(b), int64(len(b)), "fedora.img", lib)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	report, err := erofs.Verify(context.Background(), r, erofs.VerifyOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range report.Findings {
		fmt.Println(f)
	}
	// Output:
	// inode 2560: extent at 0: stored at offset 28672: does not decode: lzma stream: LZMA data unpacks to more than it should
}
