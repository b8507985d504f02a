package squash

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"
	"testing"

	"relive/tree"
)

// line is what a manifest tells of one path, in the form of the fixtures'
// lower.jsonl.gz. Holes are the ranges "start-end" that hold no data.
type line struct {
	Path   string            `json:"path"`
	Type   string            `json:"type"`
	Mode   string            `json:"mode"`
	UID    uint32            `json:"uid"`
	GID    uint32            `json:"gid"`
	Size   *int64            `json:"size"`
	Rdev   string            `json:"rdev"`
	Target string            `json:"target"`
	Mtime  string            `json:"mtime"`
	Nlink  uint32            `json:"nlink"`
	HL     string            `json:"hl"`
	Sha256 string            `json:"sha256"`
	Xattr  map[string]string `json:"xattr"`
	Holes  string            `json:"holes,omitempty"`
}

var typeLetters = map[tree.Type]string{
	tree.Regular: "f", tree.Directory: "d", tree.Symlink: "l", tree.BlockDevice: "b",
	tree.CharDevice: "c", tree.FIFO: "p", tree.Socket: "s",
}

// escape is the manifest's form of raw bytes.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= 0x21 && c <= 0x7e && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// manifest walks a tree; the lines are by path.
func manifest(t testing.TB, root *tree.Node) map[string]line {
	t.Helper()
	out := make(map[string]line)
	byInode := make(map[tree.Inode][]string)
	var walk func(p string, n *tree.Node)
	walk = func(p string, n *tree.Node) {
		l := line{Path: escape(p), Type: typeLetters[n.Type], Mode: fmt.Sprintf("%04o", n.Perm), UID: n.UID, GID: n.GID,
			Mtime: fmt.Sprintf("%d.%09d", n.Mtime.Sec, n.Mtime.Nsec), Nlink: n.Nlink, Target: escape(n.Target)}
		if n.Type == tree.Regular || n.Type == tree.Symlink {
			l.Size = &n.Size
		}
		if n.Type == tree.BlockDevice || n.Type == tree.CharDevice {
			l.Rdev = fmt.Sprintf("%d:%d", n.Rdev.Major, n.Rdev.Minor)
		}
		for _, x := range n.Xattrs {
			if l.Xattr == nil {
				l.Xattr = make(map[string]string)
			}
			l.Xattr[escape(x.Name)] = hex.EncodeToString([]byte(x.Value))
		}
		if n.Type == tree.Regular {
			c, err := n.Open()
			if err != nil {
				t.Fatalf("%s: %v", p, err)
			}
			h := sha256.New()
			if _, err := io.Copy(h, io.NewSectionReader(c, 0, c.Size())); err != nil {
				t.Fatalf("%s: %v", p, err)
			}
			l.Sha256 = hex.EncodeToString(h.Sum(nil))
			l.Holes = holes(t, c)
			c.Close()
		}
		if n.Type != tree.Directory {
			byInode[n.Inode] = append(byInode[n.Inode], p)
		}
		out[p] = l
		kids, err := n.Children()
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		for i, k := range kids {
			if i > 0 && kids[i-1].Name >= k.Name {
				t.Errorf("%s: %q is not behind %q", p, k.Name, kids[i-1].Name)
			}
			walk(path.Join(p, k.Name), k)
		}
	}
	walk("/", root)
	for _, paths := range byInode {
		if len(paths) > 1 {
			first := paths[0]
			for _, p := range paths {
				first = min(first, p)
			}
			for _, p := range paths {
				l := out[p]
				l.HL = escape(first)
				out[p] = l
			}
		}
	}
	return out
}

// holes returns the ranges of a content that hold no data.
func holes(t testing.TB, c tree.Content) string {
	t.Helper()
	var out []string
	for off := int64(0); off < c.Size(); {
		start, end, err := c.NextData(off)
		if err == io.EOF {
			start, end = c.Size(), c.Size()
		} else if err != nil {
			t.Fatal(err)
		} else if start < off || end <= start || end > c.Size() {
			t.Fatalf("NextData(%d) = %d, %d of %d bytes", off, start, end, c.Size())
		}
		if start > off {
			out = append(out, fmt.Sprintf("%d-%d", off, start))
		}
		off = end
	}
	return strings.Join(out, " ")
}

// compareManifests reports every difference of got from want.
func compareManifests(t testing.TB, got, want map[string]line) {
	t.Helper()
	for p, w := range want {
		g, ok := got[p]
		if !ok {
			t.Errorf("%s: missing", p)
			continue
		}
		gj, _ := json.Marshal(g)
		wj, _ := json.Marshal(w)
		if string(gj) != string(wj) {
			t.Errorf("%s:\n got %s\nwant %s", p, gj, wj)
		}
	}
	for p := range got {
		if _, ok := want[p]; !ok {
			t.Errorf("%s: not in the reference", p)
		}
	}
}
