package live

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
	"time"

	"relive/remaster/job"
	"relive/tree"
)

// VID is the version id by which antiX's init tells whether a rootfs was
// written over a linuxfs: the last line of a version file that begins with
// "===", byte for byte. "" is none.
type VID string

// Where the version files are, in the tree of the base and of the upper layer
// (antiX's initrd/init: VID_DIR, and check_vid).
const (
	VersionDir  = "etc/live/version"
	BaseVIDFile = VersionDir + "/linuxfs.ver"
	RootVIDFile = VersionDir + "/rootfs.ver"
)

// versionFileMax bounds what is read of a version file, in bytes.
const versionFileMax = 1 << 20

// ReadVersionFile returns a version file's text, "" where there is none.
func ReadVersionFile(root *tree.Node, path string) (string, error) {
	if root == nil {
		return "", nil
	}
	n, err := root.Lookup(path)
	if err != nil || n == nil || n.Type != tree.Regular {
		return "", err
	}
	b, err := tree.ReadAll(n, versionFileMax)
	if err != nil {
		return "", fmt.Errorf("%s: %w", tree.Quote(path), err)
	}
	return string(b), nil
}

// ParseVID finds the version id in the text of a version file.
func ParseVID(text string) (id VID) {
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "===") {
			id = VID(line)
		}
	}
	return id
}

// newVID makes a version id from what goes into a new base: never the old one,
// always the same for the same base and overlay. It has the form of the old,
// three or four '=' and 32 or 64 hex digits.
func newVID(old VID, sum []byte) VID {
	marks, digits := "====", 32
	if head, id, ok := strings.Cut(string(old), " "); ok {
		if head == "===" {
			marks = head
		}
		if len(strings.TrimSpace(id)) == 64 {
			digits = 64
		}
	}
	return VID(marks + " " + hex.EncodeToString(sum)[:digits])
}

// versionFile makes the text of a new version file. Lines that describe the
// system are taken over from the old text.
func versionFile(id VID, old string, created time.Time) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n\n", id)
	kept := map[string]string{}
	for line := range strings.SplitSeq(old, "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok {
			kept[key] = value // the last entry is the one in force
		}
	}
	fmt.Fprintf(&b, "title:%s\n", strings.TrimRight(kept["title"], " "))
	fmt.Fprintf(&b, "creation date: %s\n", created.UTC().Format("_2 January 2006 15:04:05 MST"))
	for _, key := range []string{"kernel", "machine", "inxi version"} {
		if v, ok := kept[key]; ok {
			fmt.Fprintf(&b, "%s:%s\n", key, v)
		}
	}
	return b.Bytes()
}

// layerSum hashes what tells one state of an overlay from another, without
// reading contents: every path of the layer with its metadata.
func layerSum(ctx context.Context, h hash.Hash, root *tree.Node, newest *job.NewestTime) error {
	var b []byte
	text := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return tree.WalkReadable(ctx, root, func(path string, n *tree.Node) error {
		b = b[:0]
		text(path)
		text(n.Target)
		for _, v := range []uint64{uint64(n.Type), uint64(n.Perm), uint64(n.UID), uint64(n.GID), uint64(n.Mtime.Sec),
			uint64(n.Mtime.Nsec), uint64(n.Size), uint64(n.Rdev.Major), uint64(n.Rdev.Minor), n.Inode.Number} {
			b = binary.AppendUvarint(b, v)
		}
		for _, x := range n.Xattrs {
			text(x.Name)
			text(x.Value)
		}
		h.Write(b)
		newest.Add(n.Mtime)
		return nil
	}, func(path string, _ error) error { // whoever reads the layer tells
		b = b[:0]
		text(path)
		h.Write(b)
		return nil
	})
}

// State hashes what tells one state of the overlay from another, and gives the
// newest time in it that is not later than now; see newestTime.
func (l *Live) State(ctx context.Context) (sum []byte, newest tree.Time, err error) {
	h := sha256.New()
	if l.Overlay == nil || l.Overlay.Upper == nil {
		return h.Sum(nil), newest, nil
	}
	layers := l.Overlay.uppers
	if len(layers) == 0 {
		layers = []*tree.Node{l.Overlay.Upper}
	}
	var times job.NewestTime
	for _, layer := range layers {
		if err := layerSum(ctx, h, layer, &times); err != nil {
			return nil, newest, err
		}
	}
	return h.Sum(nil), times.Time(), nil
}

// salted hashes a state of the overlay with the base and with what else decides
// the new one.
func (l *Live) salted(state []byte, more ...string) []byte {
	h := sha256.New()
	h.Write(l.Base.Image.Superblock())
	h.Write(state)
	for _, s := range more {
		fmt.Fprintf(h, "\n%s", s)
	}
	return h.Sum(nil)
}

// OrNone is a version id for people.
func OrNone(v VID) string {
	if v == "" {
		return "none"
	}
	return string(v)
}
