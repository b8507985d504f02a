package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"relive/codec"
	"relive/squash"
	"relive/tree/systest"
)

// dmfixture NAME FILE unpacks an image of testdata/dm.
func dmFixtureCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: dmfixture NAME FILE")
	}
	// Scripts run in a directory of their own, the test where its package is.
	dir, err := os.Getwd()
	ts.Check(err)
	ts.Check(systest.UnpackFile(filepath.Join(dir, "..", "..", "testdata", "dm", args[0]+".img.zst"), ts.MkAbs(args[1])))
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
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	ts.Check(err)
	if got := fmt.Sprintf("%x", h.Sum(nil)); (got == args[1]) == neg {
		ts.Fatalf("%s: the sum is %s", args[0], got)
	}
}

// mksquash DIR FILE makes a SquashFS image. Files named .wh.NAME become
// whiteouts.
func mksquashCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mksquash DIR FILE")
	}
	root, err := loadTree(ts.MkAbs(args[0]))
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

func TestSizes(t *testing.T) {
	for s, want := range map[string]int64{"512": 512, "4K": 4096, "4k": 4096, "3M": 3 << 20, "2G": 2 << 30, "1T": 1 << 40,
		"": 0, "K": 0, "-1": 0, "+1": 0, "0": 0, "9999999T": 0, "1.5G": 0, "4KB": 0, "99999999999999999999": 0} {
		got, err := sizeFlag("--size", s)
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

// Files that the running system uses are not changed.
func TestDMInUse(t *testing.T) {
	systest.NeedRoot(t, "losetup")
	path := filepath.Join(t.TempDir(), "cow")
	var out bytes.Buffer
	relive := func(args ...string) int {
		out.Reset()
		return run(append([]string{"dm"}, args...), &out, &out)
	}
	if code := relive("create", path, "--size", "1M", "--chunk", "4K"); code != exitDone {
		t.Fatal(code, out.String())
	}
	loop, detach := systest.Loop(t, path, 0)
	for _, args := range [][]string{{"reset", path}, {"grow", path, "--size", "2M"}, {"recover", "--in-place", path},
		{"merge", "--in-place", path, path},
		{"create", path, "--size", "1M", "--force"}, {"recover", path, "-o", path + ".new"}} {
		if code := relive(args...); code != exitRefused || !strings.Contains(out.String(), "in use: attached to "+loop) {
			t.Errorf("%v: %d\n%s", args, code, out.String())
		}
	}
	if code := relive("status", path); code != exitDone || !strings.Contains(out.String(), "in use: attached to "+loop) {
		t.Errorf("%d\n%s", code, out.String())
	}
	detach()
	for range 100 { // the kernel lets go a moment later
		if relive("reset", path) == exitDone {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error(out.String())
}
