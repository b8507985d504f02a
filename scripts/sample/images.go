package main

import (
	"context"
	"os"

	"relive/codec"
	"relive/extfs/mkfs"
	"relive/squash"
	"relive/tree"
)

// writeBase writes a SquashFS image of the tree; level 0 is the codec's default.
func writeBase(name string, root *tree.Node, comp codec.ID, level int) error {
	lib, err := codec.Open(codec.Auto)
	if err != nil {
		return err
	}
	const blockSize = 128 << 10
	options := codec.DefaultOptions(comp, blockSize)
	if level != 0 {
		options.Level = level
	}
	p, err := squash.NewPlan(context.Background(), root, squash.WriteOptions{
		Library: lib, Codec: options, BlockSize: blockSize,
		Flags: squash.FlagDuplicates | squash.FlagExportable, MkfsTime: uint32(made.Sec),
	})
	if err != nil {
		return err
	}
	return create(name, func(f *os.File) error {
		_, err := p.Write(context.Background(), f, 0)
		return err
	})
}

// writeExt writes an ext4 image of 64 MiB of the tree.
func writeExt(name, label string, root *tree.Node) error {
	return create(name, func(f *os.File) error {
		_, err := mkfs.Build(context.Background(), f, root, mkfs.Options{Name: name, Size: 64 << 20, BlockSize: 4096,
			Label: label, UUID: [16]byte{0x5a, 15: 0x01}, Time: made})
		return err
	})
}

func create(name string, fill func(*os.File) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := fill(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
