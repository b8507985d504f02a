package extfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"relive/tree"
)

// memDir is a directory in memory.
type memDir []*tree.Node

func (d memDir) Children() ([]*tree.Node, error) { return d, nil }

func dirNode(name string, kids ...*tree.Node) *tree.Node {
	tree.Sort(kids)
	return &tree.Node{Name: name, Meta: tree.Meta{Type: tree.Directory, Perm: 0o755, Mtime: tree.Time{Sec: 1700000000, Nsec: 5}}, Dir: memDir(kids)}
}

func fileNode(name string, content []byte) *tree.Node {
	return &tree.Node{Name: name, Meta: tree.Meta{Type: tree.Regular, Perm: 0o644, Size: int64(len(content)),
		Mtime: tree.Time{Sec: 1600000000, Nsec: 123456789}}, Data: tree.Bytes(content), Nlink: 1}
}

// requireTool skips where a tool is missing, or fails where CI promises it.
func requireTool(t testing.TB, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		for _, dir := range []string{"/sbin", "/usr/sbin"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				return filepath.Join(dir, name)
			}
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing", name)
		}
		t.Skipf("%s is missing", name)
	}
	return p
}

// buildImage builds into a new file and gives its path.
func buildImage(t testing.TB, root *tree.Node, o BuildOptions) (string, Report) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rep, err := Build(context.Background(), f, root, o)
	if err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
	return f.Name(), rep
}

// fsck demands that e2fsck finds nothing to say.
func fsck(t testing.TB, path string) {
	t.Helper()
	out, err := exec.Command(requireTool(t, "e2fsck"), "-fn", path).CombinedOutput()
	if err != nil {
		t.Fatalf("e2fsck: %v\n%s", err, clip(out))
	}
}

func clip(p []byte) []byte {
	if len(p) > 4000 {
		return append(p[:4000:4000], "..."...)
	}
	return p
}

func TestBuildEmpty(t *testing.T) {
	for _, size := range []int64{8 << 20, 100 << 20, 600 << 20, 40 << 30} {
		path, _ := buildImage(t, dirNode(""), BuildOptions{Size: size, Label: "rootfs"})
		fsck(t, path)
	}
}

var _ = bytes.Equal
var _ = errors.Is
var _ = fmt.Sprint
var _ io.Reader
var _ = rand.Int
var _ = strings.Join
