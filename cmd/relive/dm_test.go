package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/testscript"

	"relive/squash"
	"relive/squash/codec"
	"relive/tree/hostfs"
)

// dmfixture NAME FILE unpacks an image of dmmerge's testdata.
func dmFixtureCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: dmfixture NAME FILE")
	}
	// Scripts run in a directory of their own, the test where its package is.
	dir, err := os.Getwd()
	ts.Check(err)
	p, err := os.ReadFile(filepath.Join(dir, "..", "..", "dmmerge", "testdata", args[0]+".img.zst"))
	ts.Check(err)
	d, err := zstd.NewReader(nil)
	ts.Check(err)
	defer d.Close()
	b, err := d.DecodeAll(p, nil)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b, 0o600))
}

// poke FILE OFFSET HEX writes bytes.
func pokeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: poke FILE OFFSET HEX")
	}
	off, err := strconv.ParseInt(args[1], 0, 64)
	ts.Check(err)
	b, err := hex.DecodeString(args[2])
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	_, err = f.WriteAt(b, off)
	ts.Check(err)
}

// sha256 FILE SUM checks a file's content.
func sha256Command(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: sha256 FILE SUM")
	}
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%x", sha256.Sum256(b)); (got == args[1]) == neg {
		ts.Fatalf("%s: the sum is %s", args[0], got)
	}
}

// mksquash DIR FILE makes a SquashFS image.
func mksquashCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mksquash DIR FILE")
	}
	root, err := hostfs.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	lib, err := codec.Open(codec.Auto)
	ts.Check(err)
	p, err := squash.NewPlan(context.Background(), root, squash.WriteOptions{Library: lib, Codec: codec.DefaultOptions(codec.Gzip, 128<<10),
		BlockSize: 128 << 10, Flags: squash.FlagDuplicates | squash.FlagExportable, MkfsTime: uint32(epoch.Sec)})
	ts.Check(err)
	ts.Check(create(ts.MkAbs(args[1]), func(f *os.File) error {
		_, err := p.Write(context.Background(), f, 0)
		return err
	}))
}

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]int64{"512": 512, "4K": 4096, "4k": 4096, "3M": 3 << 20, "2G": 2 << 30, "1T": 1 << 40,
		"": 0, "K": 0, "-1": 0, "0": 0, "9999999T": 0, "1.5G": 0, "4KB": 0, "99999999999999999999": 0} {
		got, err := parseBytes("--size", s)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
	for s, want := range map[string]uint32{"": 0, "512": 1, "4K": 8, "1G": 1 << 21, "2G": 0, "256": 0, "12K": 0} {
		got, err := parseChunk(s)
		if got != want || (err == nil) != (want > 0 || s == "") {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
}
