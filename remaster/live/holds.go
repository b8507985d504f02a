package live

import (
	"errors"
	"fmt"

	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/tree"
)

// What is read where a file holds something else.
const (
	readsPacked = "SquashFS and EROFS"
	readsExt    = "ext2, ext3 and ext4"
)

// ProbeFile tells what a file holds.
func ProbeFile(at Place, path string) (probe.Result, error) {
	c, err := at.Open(path)
	if err != nil {
		return probe.Result{}, err
	}
	defer c.Close()
	return ProbeContent(c, path)
}

// ProbeContent is probeFile for an opened file.
func ProbeContent(c tree.Content, path string) (probe.Result, error) {
	res, err := probe.Of(c, c.Size())
	if err != nil {
		return res, fmt.Errorf("%s: %w", path, err)
	}
	return res, nil
}

// holdsOther is the error of a file that holds something that is known, where
// only what reads names can be read. It may be sound: there is no hint to repair
// it, or to go back to a former state.
func holdsOther(name string, res probe.Result, reads string) error {
	return refusal.WithHint(tree.Unsupported(name, "", "it holds %s; only %s can be read", res.Name(), reads), res.Kind.Hint())
}

// damageHint adds a hint to an error that is one of damage. Others, of what is
// only not read above all, keep theirs.
func damageHint(err error, hint string) error {
	if errors.Is(err, tree.ErrCorrupt) {
		return refusal.WithHint(err, hint)
	}
	return err
}
