package overlay_test

import (
	"context"
	"fmt"
	"log"

	"relive/overlay"
	"relive/tree"
)

// Merge a layer into its base: what the layer deletes is gone, what it holds
// takes the place of the base's.
func ExampleMerge() {
	base := tree.NewDir("", 0o755,
		tree.NewFile("kept", 0o644, []byte("base")),
		tree.NewFile("changed", 0o644, []byte("base")),
		tree.NewFile("deleted", 0o644, []byte("base")))
	upper := tree.NewDir("", 0o755,
		tree.NewFile("changed", 0o644, []byte("layer")),
		// overlayfs's whiteout: a character device with number 0, 0.
		&tree.Node{Name: "deleted", Meta: tree.Meta{Type: tree.CharDevice}, Nlink: 1})

	merged, err := overlay.Merge([]overlay.Layer{
		{Root: upper, Form: overlay.OverlayFS, Namespace: overlay.Trusted},
		{Root: base},
	})
	if err != nil {
		log.Fatal(err)
	}
	err = tree.Walk(context.Background(), merged.Root(), func(path string, n *tree.Node) error {
		if n.Type != tree.Regular {
			return nil
		}
		text, err := tree.ReadAll(n, 1<<10)
		fmt.Printf("%s: %s\n", path, text)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// changed: layer
	// kept: base
}

// The layer that makes one tree of another, which is what overlayfs itself
// would have written.
func ExampleDifference() {
	lower := tree.NewDir("", 0o755, tree.NewFile("a", 0o644, nil), tree.NewFile("b", 0o644, nil))
	wanted := tree.NewDir("", 0o755, tree.NewFile("a", 0o644, nil), tree.NewFile("c", 0o644, nil))
	layer, err := overlay.Difference(context.Background(), lower, wanted, overlay.DifferenceOptions{Form: overlay.OverlayFS})
	if err != nil {
		log.Fatal(err)
	}
	kids, err := layer.Children()
	if err != nil {
		log.Fatal(err)
	}
	for _, n := range kids {
		fmt.Println(n.Name, n.Type)
	}
	// Output:
	// b character device
	// c file
}
