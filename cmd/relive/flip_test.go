package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"relive/remaster/written"
	"relive/tree/systest"
)

// TestDMFlips: a byte of a new COW or merged image that changes between writing
// and reading back is found, wherever it lies, and the file gets no name.
func TestDMFlips(t *testing.T) {
	t.Parallel()
	dir := systest.MemDir(t)
	for _, name := range []string{"cow", "origin"} {
		systest.UnpackTo(t, "../../testdata/dm/p8-multi/"+name+".img.zst", filepath.Join(dir, name))
	}
	cow, origin, out := dir+"/cow", dir+"/origin", dir+"/out"
	for _, args := range [][]string{
		{"dm", "merge", origin, cow, "-o", out},
		{"dm", "merge", origin, cow, "-o", out, "--sparse"},
		{"dm", "repack", origin, cow, "-o", out},
		{"dm", "repack", origin, cow, "-o", out, "--sparse", "--chunk", "8K"},
		{"dm", "recover", cow, "-o", out},
		{"dm", "create", out, "--size", "8M"},
	} {
		run := func(fault func(f *os.File) error) error {
			a := &app{stdout: io.Discard, stderr: io.Discard, quiet: true}
			c := a.command()
			c.SetArgs(args)
			c.SetOut(io.Discard)
			c.SetErr(io.Discard)
			return c.ExecuteContext(written.WithFault(t.Context(), fault))
		}
		size := int64(0)
		err := run(func(f *os.File) error {
			st, err := f.Stat()
			size = st.Size()
			return err
		})
		if err != nil || size == 0 {
			t.Fatalf("%v: %v, %d bytes", args, err, size)
		}
		systest.Must(t, os.Remove(out))
		for _, at := range []int64{0, 12, 4096 + 9, 8192, size / 2, size - 1} {
			err := run(func(f *os.File) error {
				var b [1]byte
				if _, err := f.ReadAt(b[:], at); err != nil {
					return err
				}
				b[0] ^= 4
				_, err := f.WriteAt(b[:], at)
				return err
			})
			if !errors.Is(err, written.ErrDiffers) {
				t.Errorf("%v: byte %d of %d: %v", args, at, size, err)
			}
			entries, err := os.ReadDir(dir)
			systest.Must(t, err)
			if len(entries) != 2 {
				t.Fatalf("%v: left behind: %v", args, entries)
			}
		}
	}
}
