package hostcopy

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// The kernel's way is really taken, also below a section.
func TestInKernel(t *testing.T) {
	raw := bytes.Repeat([]byte("0123456789abcde\n"), 1000)
	from := filepath.Join(t.TempDir(), "from")
	if err := os.WriteFile(from, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dst, err := os.Create(filepath.Join(t.TempDir(), "copy"))
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	var copied int64
	c := Copier{Ctx: t.Context(), Out: dst, Base: 10, Done: func(n int64) { copied += n }}
	s := &Source{Name: "from", Image: io.NewSectionReader(f, 6, 15000), Read: func([]byte, int64) error {
		t.Error("the kernel did not copy")
		return nil
	}}
	if err := c.Copy(s, Range{Src: 96, Len: 4000, Dst: 90}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4000)
	if _, err := dst.ReadAt(got, 100); err != nil || !bytes.Equal(got, raw[102:4102]) || copied != 4000 {
		t.Errorf("%d bytes copied, or other ones (%v)", copied, err)
	}
}

// What the kernel refuses falls back without an error.
func TestRefused(t *testing.T) {
	pipeR, pipeW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipeR.Close()
	defer pipeW.Close()
	if k, err := copyFileRange(pipeW, 0, pipeR, 0, 10); k != 0 || err != nil && err != unix.ESPIPE {
		t.Errorf("into a pipe: %d, %v", k, err)
	}
}
