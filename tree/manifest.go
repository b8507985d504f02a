package tree

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
)

// An Entry is one line of a manifest: the canonical form of a node, as JSON
// with its keys in the order of the fields. Absent keys do not apply.
type Entry struct {
	Path   string            `json:"path"` // escaped, "/" is the root
	Type   string            `json:"type"` // one of f d l b c p s
	Mode   string            `json:"mode"` // four octal digits
	UID    uint32            `json:"uid"`
	GID    uint32            `json:"gid"`
	Size   *int64            `json:"size,omitempty"` // files and symlinks
	Rdev   string            `json:"rdev,omitempty"` // "major:minor" of devices
	Target string            `json:"target,omitempty"`
	Mtime  string            `json:"mtime"`        // "seconds.nnnnnnnnn"
	Link   string            `json:"hl,omitempty"` // least path of the hard-link group, where it has two or more names
	SHA256 string            `json:"sha256,omitempty"`
	Xattr  map[string]string `json:"xattr,omitempty"` // escaped name: value in hex
}

func (t Type) letter() string {
	return [...]string{Regular: "f", Directory: "d", Symlink: "l", BlockDevice: "b", CharDevice: "c", FIFO: "p", Socket: "s"}[t]
}

// ManifestOptions say what a manifest leaves out.
type ManifestOptions struct {
	NoHash bool // no sha256 of contents
	// Bad is called for a path that cannot be read, which then has no line, or none
	// with a sum. Where it is nil, the first such path is an error.
	Bad func(path string, err error) error
}

// walk is Walk or WalkReadable.
func (o *ManifestOptions) walk(ctx context.Context, root *Node, fn func(string, *Node) error, bad func(string, error) error) error {
	if o.Bad == nil {
		return Walk(ctx, root, fn)
	}
	return WalkReadable(ctx, root, fn, bad)
}

// Manifest calls fn with the entry of every node, in the byte order of the
// paths' components. Hard-linked content is hashed once.
func Manifest(ctx context.Context, root *Node, o ManifestOptions, fn func(Entry) error) error {
	// A group's first line must already name it, so the groups are found first.
	type group struct {
		first string
		n     int
		sum   string
	}
	groups := map[Inode]*group{}
	err := o.walk(ctx, root, func(path string, n *Node) error {
		if n.Type == Directory || n.Inode == (Inode{}) || n.Nlink < 2 {
			return nil
		}
		if g := groups[n.Inode]; g != nil {
			g.n++
			g.first = min(g.first, path)
		} else {
			groups[n.Inode] = &group{first: path, n: 1}
		}
		return nil
	}, func(string, error) error { return nil }) // the second walk tells
	if err != nil {
		return err
	}
	buf := make([]byte, 256<<10)
	return o.walk(ctx, root, func(path string, n *Node) error {
		e := Entry{Path: Escape("/" + path), Type: n.Type.letter(), Mode: fmt.Sprintf("%04o", n.Perm),
			UID: n.UID, GID: n.GID, Mtime: fmt.Sprintf("%d.%09d", n.Mtime.Sec, n.Mtime.Nsec)}
		switch n.Type {
		case Regular, Symlink:
			size := n.Size
			e.Size, e.Target = &size, Escape(n.Target)
		case BlockDevice, CharDevice:
			e.Rdev = fmt.Sprintf("%d:%d", n.Rdev.Major, n.Rdev.Minor)
		}
		if len(n.Xattrs) > 0 {
			e.Xattr = make(map[string]string, len(n.Xattrs))
			for _, x := range n.Xattrs {
				e.Xattr[Escape(x.Name)] = hex.EncodeToString([]byte(x.Value))
			}
		}
		var g *group
		if n.Type != Directory && n.Inode != (Inode{}) {
			if g = groups[n.Inode]; g != nil && g.n > 1 {
				e.Link = Escape("/" + g.first)
			}
		}
		if n.Type == Regular && !o.NoHash {
			if g != nil && g.sum != "" {
				e.SHA256 = g.sum
			} else {
				sum, err := Hash(n, sha256.New(), buf)
				if err != nil && o.Bad != nil && ctx.Err() == nil {
					if err := o.Bad(path, err); err != nil {
						return err
					}
					return fn(e)
				}
				if err != nil {
					return fmt.Errorf("%s: %w", Quote(path), err)
				}
				e.SHA256 = hex.EncodeToString(sum)
				if g != nil {
					g.sum = e.SHA256
				}
			}
		}
		return fn(e)
	}, o.Bad)
}

// WriteManifest writes a manifest as JSON lines.
func WriteManifest(ctx context.Context, w io.Writer, root *Node, o ManifestOptions) error {
	bw := bufio.NewWriter(w)
	enc := json.NewEncoder(bw)
	enc.SetEscapeHTML(false)
	if err := Manifest(ctx, root, o, func(e Entry) error { return enc.Encode(e) }); err != nil {
		return err
	}
	return bw.Flush()
}

// Hash returns the digest of a regular file's whole content, holes as zeros,
// read through buf.
func Hash(n *Node, h hash.Hash, buf []byte) ([]byte, error) {
	c, err := n.Open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	h.Reset()
	for off := int64(0); off < n.Size; {
		p := buf[:min(int64(len(buf)), n.Size-off)]
		if err := ReadFull(c, p, off); err != nil {
			return nil, err
		}
		h.Write(p)
		off += int64(len(p))
	}
	return h.Sum(nil), nil
}
