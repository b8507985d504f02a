package remaster

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"relive/tree"
)

// sumsFile is a file with sums of others, as md5sum and its like write it:
// linuxfs.md5 of one file, md5sum.txt of all of a medium.
type sumsFile struct {
	path  string // in the tree
	kind  string // "md5", "sha1", "sha256" or "sha512"
	lines []sumLine
	// unknown is how many lines are neither a sum nor a comment.
	unknown int
}

// sumLine is a line of a list. Lines keep their bytes.
type sumLine struct {
	text string // with its end
	// at is where the sum stands in text, in hex; target is the path of the file in
	// the tree. target is "" in a line that tells of no file.
	at     int
	sum    string
	target string
}

// isoListMax bounds what is read of a list, in bytes.
const isoListMax = 32 << 20

// sumKinds are the hashes by how they are called in names of files.
var sumKinds = []string{"md5", "sha1", "sha256", "sha512"}

// sumKind tells by a file's name whether it is a list of sums, and of which hash:
// "linuxfs.md5", "md5sum.txt", "SHA256SUMS", "airootfs.sha512", "md5sums".
func sumKind(name string) string {
	lower := strings.ToLower(name)
	for _, kind := range sumKinds {
		if strings.HasSuffix(lower, "."+kind) || strings.HasSuffix(lower, "."+kind+"sum") {
			return kind
		}
		for _, stem := range []string{kind + "sum", kind + "sums", kind + "sum.txt", kind + "sums.txt"} {
			if lower == stem {
				return kind
			}
		}
	}
	return ""
}

// signatureOf gives the path of a file's detached signature, "" where there is
// none.
func signatureOf(root *tree.Node, p string) (string, error) {
	for _, ext := range []string{".asc", ".gpg", ".sig", ".sign", ".cms.sig"} {
		n, err := root.Lookup(p + ext)
		if err != nil || n != nil {
			return p + ext, err
		}
	}
	return "", nil
}

// findSumLists reads all lists of sums in a tree. What looks like one and cannot
// be read as text has unknown lines only.
func findSumLists(ctx context.Context, root *tree.Node) (lists []*sumsFile, err error) {
	err = tree.Walk(ctx, root, func(p string, n *tree.Node) error {
		kind := ""
		if n.Type == tree.Regular {
			kind = sumKind(n.Name)
		}
		if kind == "" {
			return nil
		}
		l := &sumsFile{path: p, kind: kind}
		if n.Size > isoListMax {
			l.unknown = 1
		} else {
			b, err := tree.ReadAll(n, isoListMax)
			if err != nil {
				return fmt.Errorf("%s: %w", tree.Quote(p), err)
			}
			l.parse(b)
		}
		lists = append(lists, l)
		return nil
	})
	return lists, err
}

// parse splits a list into lines. Names are relative to the list's directory.
func (l *sumsFile) parse(b []byte) {
	dir := path.Dir(l.path)
	if dir == "." {
		dir = ""
	}
	for text := range bytes.Lines(b) {
		line := sumLine{text: string(text)}
		trimmed := strings.TrimRight(line.text, "\r\n")
		name, ok := "", false
		if line.at, line.sum, name, ok = splitSum(trimmed, hashDigits(l.kind)); !ok {
			if s := strings.TrimSpace(trimmed); s != "" && s[0] != '#' {
				l.unknown++
			}
			l.lines = append(l.lines, sumLine{text: line.text})
			continue
		}
		if name == "" {
			// A sum alone is of the file that the list is named after.
			name = strings.TrimSuffix(path.Base(l.path), path.Ext(l.path))
		}
		if strings.HasPrefix(name, "/") {
			line.target = strings.Trim(path.Clean(name), "/")
		} else {
			line.target = strings.Trim(path.Clean("/"+path.Join(dir, name)), "/")
		}
		l.lines = append(l.lines, line)
	}
}

func hashDigits(kind string) int { return 2 * newHash(kind).Size() }

// splitSum finds the sum and the name in a line: "SUM  NAME", "SUM *NAME", "SUM",
// or as BSD's tools have it, "MD5 (NAME) = SUM".
func splitSum(line string, digits int) (at int, sum, name string, ok bool) {
	isSum := func(s string) bool {
		_, err := hex.DecodeString(s)
		return err == nil && len(s) == digits
	}
	escaped := strings.HasPrefix(line, `\`)
	if escaped {
		at++
	}
	if first, rest, _ := strings.Cut(line[at:], " "); isSum(first) {
		name = strings.TrimPrefix(strings.TrimPrefix(rest, " "), "*")
		if escaped {
			name = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r").Replace(name)
		}
		return at, first, name, true
	}
	if open, end := strings.Index(line, " ("), strings.LastIndex(line, ") = "); open > 0 && end > open && isSum(strings.TrimSpace(line[end+4:])) {
		return end + 4, strings.TrimSpace(line[end+4:]), line[open+2 : end], true
	}
	return 0, "", "", false
}

// bytes is the text of the list.
func (l *sumsFile) bytes() []byte {
	var b bytes.Buffer
	for _, line := range l.lines {
		b.WriteString(line.text)
	}
	return b.Bytes()
}

// set puts another sum into a line.
func (l *sumLine) set(sum string) {
	if strings.ToUpper(l.sum) == l.sum && strings.ToLower(l.sum) != l.sum {
		sum = strings.ToUpper(sum)
	}
	l.text = l.text[:l.at] + sum + l.text[l.at+len(sum):]
	l.sum = sum
}

// hashNode gives the sum of a file of a tree in hex.
func hashNode(ctx context.Context, n *tree.Node, kind string, buf []byte, progress func(int64)) (string, error) {
	c, err := n.Open()
	if err != nil {
		return "", err
	}
	defer c.Close()
	h := newHash(kind)
	for off := int64(0); off < c.Size(); {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		b := buf[:min(int64(len(buf)), c.Size()-off)]
		if err := tree.ReadFull(c, b, off); err != nil {
			return "", err
		}
		h.Write(b)
		off += int64(len(b))
		if progress != nil {
			progress(int64(len(b)))
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
