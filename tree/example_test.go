package tree_test

import (
	"context"
	"fmt"
	"log"
	"testing/fstest"

	"relive/tree"
)

// A tree is made of nodes, from any source: here an fs.FS.
func ExampleFromFS() {
	root, err := tree.FromFS(fstest.MapFS{
		"etc/hostname": {Data: []byte("live\n"), Mode: 0o644},
		"usr/bin/sh":   {Data: []byte("..."), Mode: 0o755},
	})
	if err != nil {
		log.Fatal(err)
	}
	err = tree.Walk(context.Background(), root, func(path string, n *tree.Node) error {
		fmt.Printf("%-9s %04o %s\n", n.Type, n.Perm, tree.Quote("/"+path))
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// directory 0555 /
	// directory 0555 /etc
	// file      0644 /etc/hostname
	// directory 0555 /usr
	// directory 0555 /usr/bin
	// file      0755 /usr/bin/sh
}

// Edits make a changed tree of one that stays as it is.
func ExampleEdits() {
	base := tree.NewDir("", 0o755, tree.NewDir("etc", 0o755, tree.NewFile("hostname", 0o644, []byte("live\n"))))
	var e tree.Edits
	e.Put("etc/hostname", tree.NewFile("", 0o644, []byte("mine\n")))
	e.Put("etc/motd", tree.NewFile("", 0o644, []byte("welcome\n")))
	changed, err := e.Apply(base)
	if err != nil {
		log.Fatal(err)
	}
	err = tree.Compare(context.Background(), base, changed, tree.CompareOptions{}, func(c tree.Change) error {
		fmt.Println(c.Path, c.Diff)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// etc/hostname content
	// etc/motd only in second
}
