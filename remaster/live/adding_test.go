package live

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"relive/codec"
	"relive/remaster/job"
	"relive/remaster/probe"
	"relive/remaster/say"
	"relive/squash"
	"relive/tree"
)

// begin of the example in docs/adding-a-layout.md

// frugal is the layout of an imaginary distribution: boot/system.sfs, and what was
// written in boot/changes, an ext image with upper and work (its initrd/init: mount_root).
type frugal struct{}

func (frugal) Name() string   { return "Frugal" }
func (frugal) Traits() Traits { return Traits{Key: "frugal"} }

func (frugal) find(s *search, dir string) (*Found, error) {
	if !IsFile(s.at, filepath.Join(dir, "boot/system.sfs"+s.generation)) {
		return nil, nil
	}
	f := &Found{Dir: dir, Files: Files{Base: "boot/system.sfs"}}
	if s.hasEither(dir, "boot/changes") {
		f.Files.Overlay = []string{"boot/changes"}
	}
	return f, nil
}

func (frugal) open(_ context.Context, e *job.Env, l *Live) error {
	if err := l.openBase(e, l.Path(l.Files.Base)); err != nil {
		return damageHint(err, say.Verify+" tells more of an image")
	}
	if len(l.Files.Overlay) == 0 || !Has(l.Place, l.Path(l.Files.Overlay[0])) {
		return nil
	}
	return l.openImageOverlay(l.Path(l.Files.Overlay[0]), "upper", "work")
}

func (frugal) openAlone(e *job.Env, l *Live, path string, _ probe.Kind) error {
	return l.openBase(e, path)
}

func (frugal) check(context.Context, *job.Env, *Live, *Intent) error { return nil }

func (frugal) system(_ context.Context, _ *Live, merged *tree.Node, _ Stamp) (*tree.Node, Version, error) {
	return merged, Version{}, nil
}

func (frugal) Medium(l *Live) Medium {
	return Medium{
		Root: l.Absolute(), Base: "boot/system.sfs", Own: []string{"boot/vmlinuz*", "boot/initrd*"},
		Kernels: []string{"boot/vmlinuz*"}, Initrds: []string{"boot/initrd*"},
		Arguments: func(string, string) []string { return []string{"quiet"} },
	}
}

func (frugal) bootDirs(*Found) []string { return []string{"boot"} }
func (frugal) belowRoot(*Found) bool    { return false }

// end of the example

// TestAddingALayout holds the example of docs/adding-a-layout.md to what compiles
// and works.
func TestAddingALayout(t *testing.T) {
	own, err := os.ReadFile("adding_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := bytes.Cut(own, []byte("// begin of the example in docs/adding-a-layout.md\n\n"))
	code, _, found := bytes.Cut(code, []byte("\n// end of the example"))
	page, err := os.ReadFile("../../docs/adding-a-layout.md")
	if err != nil {
		t.Fatal(err)
	}
	if !found || !bytes.Contains(page, code) {
		t.Error("docs/adding-a-layout.md has another example than this file")
	}
	e := &job.Env{}
	if e.Library, err = codec.Open(codec.Go); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "boot"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "boot/system.sfs"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	root := tree.NewDir("", 0o755, tree.NewFile("hello", 0o644, []byte("live\n")))
	plan, err := squash.NewPlan(t.Context(), root, squash.WriteOptions{Library: e.Library, Codec: codec.DefaultOptions(codec.Gzip, 128<<10),
		BlockSize: 128 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Write(t.Context(), f, 0); err != nil {
		t.Fatal(err)
	}
	l := &Live{Dir: dir, Layout: frugal{}, Place: Host{}}
	got, err := frugal{}.find(&search{at: Host{}}, dir)
	if err != nil || got == nil {
		t.Fatalf("find: %v, %v", got, err)
	}
	l.Files = got.Files
	if err := l.Layout.open(t.Context(), e, l); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if n, err := l.Base.Root.Child("hello"); err != nil || n == nil {
		t.Errorf("the base shows %v, %v", n, err)
	}
}
