package menu

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"relive/tree"
)

// Mention is a line of a file that names a volume.
type Mention struct {
	File string // from the root, without a leading slash
	Line int    // from 1 on
	Text string // the line
}

// Mentions finds the lines that name a volume by one of the labels or UUIDs, in
// the texts of a medium's root and of the directories that loaders know: menus
// of kinds that Edits does not know, such as rEFInd's, answers for an installer,
// scripts. A label counts where the words before it say that it is one, in any of
// the forms that it may have.
func Mentions(ctx context.Context, root *tree.Node, labels, uuids []string) (out []Mention, err error) {
	m := mentions{ctx: ctx, left: maxTexts}
	for _, l := range labels {
		for _, form := range []string{l, EncodeLabel(l), fstabEncoded(l)} {
			if l != "" && !slices.Contains(m.labels, form) {
				m.labels = append(m.labels, form)
			}
		}
	}
	for _, u := range uuids {
		if u != "" {
			m.uuids = append(m.uuids, strings.ToLower(u))
		}
	}
	if len(m.labels)+len(m.uuids) == 0 {
		return nil, nil
	}
	kids, err := root.Children()
	if err != nil {
		return nil, fmt.Errorf("/: %w", err)
	}
	for _, k := range kids {
		switch {
		case k.Type == tree.Regular:
			err = m.file(k.Name, k)
		case k.Type == tree.Directory && bootDirectory(k.Name):
			err = m.directory(k.Name, k, 0)
		case k.Type == tree.Directory:
			var below []*tree.Node
			if below, err = k.Children(); err != nil {
				return nil, fmt.Errorf("%s: %w", tree.Quote(k.Name), err)
			}
			for _, b := range below {
				if err == nil && b.Type == tree.Directory && bootDirectory(b.Name) {
					err = m.directory(tree.Join(k.Name, b.Name), b, 0)
				}
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return m.found, nil
}

// maxMention is the size of the largest text that is looked at, in bytes.
const maxMention = 256 << 10

type mentions struct {
	ctx           context.Context
	labels, uuids []string
	left          int64 // bytes that may still be read
	found         []Mention
}

func (m *mentions) directory(path string, n *tree.Node, depth int) error {
	if m.ctx.Err() != nil {
		return context.Cause(m.ctx)
	}
	kids, err := n.Children()
	if err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(path), err)
	}
	for _, k := range kids {
		p := tree.Join(path, k.Name)
		switch {
		case k.Type == tree.Regular:
			err = m.file(p, k)
		case k.Type == tree.Directory && depth < maxMenuDepth:
			err = m.directory(p, k, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *mentions) file(path string, n *tree.Node) error {
	if n.Size == 0 || n.Size > maxMention || m.left < n.Size {
		return nil
	}
	// Programs and pictures are told by their beginning.
	head := make([]byte, min(n.Size, 512))
	c, err := n.Open()
	if err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(path), err)
	}
	defer c.Close()
	if err := tree.ReadFull(c, head, 0); err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(path), err)
	}
	if bytes.IndexByte(head, 0) >= 0 {
		return nil
	}
	m.left -= n.Size
	text := make([]byte, n.Size)
	if err := tree.ReadFull(c, text, 0); err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(path), err)
	}
	line := 0
	for len(text) > 0 {
		var l []byte
		l, text, _ = bytes.Cut(text, []byte("\n"))
		line++
		if s := withoutCR(string(l)); m.names(s) {
			m.found = append(m.found, Mention{path, line, s})
		}
	}
	return nil
}

// names reports whether a line names one of the volumes.
func (m *mentions) names(line string) bool {
	if strings.HasPrefix(strings.TrimSpace(line), "#") {
		return false
	}
	lower := strings.ToLower(line)
	for _, u := range m.uuids {
		if strings.Contains(lower, u) {
			return true
		}
	}
	for _, l := range m.labels {
		for at := 0; ; {
			i := strings.Index(line[at:], l)
			if i < 0 {
				break
			}
			i += at
			if labelEnds(line[i+len(l):]) && labelBegins(lower[:i]) {
				return true
			}
			at = i + 1
		}
	}
	return false
}

// labelEnds reports whether a name ends where the rest of a line begins.
func labelEnds(rest string) bool {
	return rest == "" || strings.IndexByte("\"' \t:,;)]}/&|", rest[0]) >= 0
}

// labelBegins reports whether what stands before a name, in lower case, says that it
// is a volume's.
func labelBegins(before string) bool {
	if strings.HasSuffix(before, "partlabel=") {
		return false
	}
	before = strings.TrimRight(before, "\"' \t=:")
	switch strings.Join(strings.Fields(before), " ") {
	case "label", "menu label", "menu default", "default", "ontimeout":
		return false // an entry of SYSLINUX
	}
	for _, word := range []string{"label", "by-label/", "volume", "volid", "volumeid", " -l", "plab", "blab"} {
		if strings.HasSuffix(before, word) {
			return true
		}
	}
	return false
}
