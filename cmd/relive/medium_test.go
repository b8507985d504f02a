package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"relive/extfs/mkfs"
	"relive/tree"
)

// mkext [-label L] [-size N] [-uuid HEX] [-upper PATH] DIR FILE makes an ext4
// image of the files in DIR, without root. Files named .wh.NAME become
// whiteouts, the directory PATH a layer as overlayfs leaves it.
func makeExtCommand(ts *testscript.TestScript, neg bool, args []string) {
	upper := ""
	o := mkfs.Options{Size: 8 << 20, Time: epoch, UUID: [16]byte{0x12, 0xab, 15: 1}}
	for ; len(args) > 2; args = args[2:] {
		switch args[0] {
		case "-label":
			o.Label = args[1]
		case "-size":
			n, err := parseSize(args[1])
			ts.Check(err)
			o.Size = n
		case "-uuid":
			b, err := hex.DecodeString(args[1])
			ts.Check(err)
			copy(o.UUID[:], b)
		case "-upper":
			upper = args[1]
		default:
			ts.Fatalf("mkext: unknown flag %s", args[0])
		}
	}
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mkext [-label L] [-size N] [-uuid HEX] [-upper PATH] DIR FILE")
	}
	root, err := loadTree(ts.MkAbs(args[0]))
	ts.Check(err)
	if o.Size >= 8<<20 {
		o.JournalBlocks = 1024
	}
	if upper != "" {
		layer, err := root.Lookup(upper)
		ts.Check(err)
		var e tree.Edits
		e.Put(upper, merging(layer))
		root, err = e.Apply(root)
		ts.Check(err)
	}
	ts.Check(create(ts.MkAbs(args[1]), func(f *os.File) error {
		_, err := mkfs.Build(context.Background(), f, root, o)
		return err
	}))
}

// mkcow [-size N] [-chunk SECTORS] ORIGIN CHANGED FILE makes the copy-on-write
// store that a snapshot of ORIGIN has after every byte in which CHANGED differs
// was written. It knows the format by itself, so that the tests do not read what
// their own writer wrote: Linux drivers/md/dm-snap-persistent.c.
func makeCOWCommand(ts *testscript.TestScript, neg bool, args []string) {
	size, sectors := 4<<20, 8
	for ; len(args) > 3; args = args[2:] {
		n, err := parseSize(args[1])
		ts.Check(err)
		switch args[0] {
		case "-size":
			size = int(n)
		case "-chunk":
			sectors = int(n)
		default:
			ts.Fatalf("mkcow: unknown flag %s", args[0])
		}
	}
	if neg || len(args) != 3 {
		ts.Fatalf("usage: mkcow [-size N] [-chunk SECTORS] ORIGIN CHANGED FILE")
	}
	was, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	now, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	cow, err := storeOf(was, now, size, sectors*512)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), cow, 0o600))
}

// storeOf makes a COW of that size, with chunks of that many bytes.
func storeOf(was, now []byte, size, chunk int) ([]byte, error) {
	if len(was) != len(now) || len(was)%chunk != 0 {
		return nil, fmt.Errorf("images of %d and %d bytes, chunks of %d", len(was), len(now), chunk)
	}
	cow := make([]byte, size)
	for i, v := range []int{0x70416e53, 1, 1, chunk / 512} {
		binary.LittleEndian.PutUint32(cow[i*4:], uint32(v))
	}
	each := chunk / 16 // entries in a metadata area
	next, n := 2, 0
	for old := 0; old < len(was)/chunk; old++ {
		data := now[old*chunk : (old+1)*chunk]
		if bytes.Equal(was[old*chunk:(old+1)*chunk], data) {
			continue
		}
		if next%(each+1) == 1 {
			next++ // the next area is there
		}
		if (next+1)*chunk > size {
			return nil, fmt.Errorf("%d bytes are too few", size)
		}
		entry := cow[chunk*(1+n/each*(each+1))+n%each*16:]
		binary.LittleEndian.PutUint64(entry, uint64(old))
		binary.LittleEndian.PutUint64(entry[8:], uint64(next))
		copy(cow[next*chunk:], data)
		next, n = next+1, n+1
	}
	return cow, nil
}

// conditions of scripts: [root] holds where the test can make what only root
// may, which it must in CI.
func condition(name string) (bool, error) {
	if name != "root" {
		return false, fmt.Errorf("unknown condition %q", name)
	}
	if os.Getuid() == 0 {
		return true, nil
	}
	if ci, _ := strconv.ParseBool(os.Getenv("CI")); ci {
		return false, fmt.Errorf("CI is to run as root")
	}
	return false, nil
}

// whiteout FILE... makes the character devices 0:0 by which an overlay that is
// a directory hides files. It needs root.
func whiteoutCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: whiteout FILE...")
	}
	for _, name := range args {
		ts.Check(ts.Exec("mknod", ts.MkAbs(name), "c", "0", "0"))
	}
}

// memoryMax is how much of a file is loaded, in bytes.
const memoryMax = 64 << 20
