package live

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/tree"
)

// persistenceConfMax bounds persistence.conf, in bytes.
const persistenceConfMax = 1 << 20

// pathMax is Linux's PATH_MAX, in bytes with the NUL.
const pathMax = 4096

// maxUnions bounds how many directories persistence can lie over, each of which
// is a layer more that every look-up goes through.
const maxUnions = 100

// union is a directory of the system that persistence lies over.
type union struct {
	dir    string // in the system, "" for the root
	source string // in the persistence, "" for its root
}

// persistenceConf is what a persistence.conf says. Outer directories come
// before those in them.
type persistenceConf struct {
	unions, binds, links []union
	kept                 []string // what is no union, for people
	// panics says why a boot stops at it, "" where it does not.
	panics string
}

// readPersistenceConf reads persistence.conf: a line is a directory and its
// options. A persistence without the file is one that live-boot does not use.
func readPersistenceConf(root *tree.Node) (c persistenceConf, err error) {
	n, err := root.Child(livebootConf)
	if err != nil {
		return c, err
	}
	if n == nil || n.Type != tree.Regular {
		c.kept = []string{"there is no " + livebootConf + ", so that a boot ignores it"}
		return c, nil
	}
	text, err := tree.ReadAll(n, persistenceConfMax)
	if err != nil {
		return c, fmt.Errorf("%s: %w", livebootConf, err)
	}
	return parsePersistenceConf(text)
}

// confLine is a line of persistence.conf that live-boot takes.
type confLine struct {
	union
	kind string // bind, link or union
	// key is what live-boot sorts by, and takes once: the directory and the options.
	key  string
	link bool // link is among the options, whatever the last of them is
	at   string
}

// parsePersistenceConf is readPersistenceConf for the text. It follows the shell
// functions get_custom_mounts and activate_custom_mounts of live-boot
// (9990-misc-helpers.sh, 20230131): lines are read by "read dir options", which
// drops a last line without a line feed, takes backslashes as quotes and knows
// blanks and tabs alone as separators.
func parsePersistenceConf(text []byte) (c persistenceConf, err error) {
	var mounts, links []confLine
	for i, line := range shellLines(text) {
		if line.cut {
			if len(bytes.TrimSpace(line.text)) > 0 {
				c.kept = append(c.kept, fmt.Sprintf("%s: line %d: has no line feed at its end, so that a boot does not see it",
					livebootConf, i+1))
			}
			continue
		}
		l, why := confLineOf(line.text)
		l.at = fmt.Sprintf("%s: line %d", livebootConf, i+1)
		switch {
		case why != "":
			c.kept = append(c.kept, l.at+": "+why+", so that a boot skips it")
		case l.kind == "":
		case l.link:
			links = append(links, l)
		default:
			mounts = append(mounts, l)
		}
	}
	// sort -k3 -sbu: of lines with the same directory and the same options one counts.
	slices.SortStableFunc(mounts, func(a, b confLine) int { return cmp.Compare(a.key, b.key) })
	mounts = slices.CompactFunc(mounts, func(a, b confLine) bool { return a.key == b.key })
	var taken []confLine
	for _, l := range slices.Concat(mounts, links) {
		i := slices.IndexFunc(taken, func(t confLine) bool { return t.dir == l.dir && t.kind != "link" })
		switch {
		case i < 0:
			taken = append(taken, l)
		case l.dir == "":
			taken[i] = l // what is mounted at the root is unmounted first
		default:
			c.kept = append(c.kept, fmt.Sprintf("%s: /%s is taken by another line already, so that a boot skips it", l.at,
				tree.Escape(l.dir)))
		}
	}
	c.panics = nested(slices.Concat(mounts, links))
	for _, l := range taken {
		switch l.kind {
		case "union":
			if c.unions = append(c.unions, l.union); len(c.unions) > maxUnions {
				return persistenceConf{}, tree.Unsupported(livebootConf, strings.TrimPrefix(l.at, livebootConf+": "),
					"is one union more than %d", maxUnions)
			}
			continue
		case "bind":
			if l.dir != "" && len(c.binds) < maxUnions {
				c.binds = append(c.binds, l.union)
			}
		case "link":
			if len(c.links) < maxUnions {
				c.links = append(c.links, l.union)
			}
		}
		c.kept = append(c.kept, fmt.Sprintf("/%s is a %s of persistence and stays there", l.dir, l.kind))
	}
	for _, list := range []*[]union{&c.unions, &c.binds} {
		slices.SortStableFunc(*list, func(a, b union) int { return cmp.Compare(a.dir, b.dir) })
	}
	return c, nil
}

// shellLine is what the shell's read takes as a line: without its line feed, and
// with quoted bytes marked.
type shellLine struct {
	text []byte
	cut  bool // the text ended before a line feed
}

// shellLines parts a text as read does, which joins lines at a backslash.
func shellLines(text []byte) (lines []shellLine) {
	var now []byte
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text) && text[i+1] == '\n':
			i++
			// The number of lines that people count goes on.
			lines = append(lines, shellLine{})
		case text[i] == '\\' && i+1 < len(text):
			now = append(now, text[i], text[i+1])
			i++
		case text[i] == '\n':
			lines, now = append(lines, shellLine{text: now}), nil
		default:
			now = append(now, text[i])
		}
	}
	if len(now) > 0 {
		lines = append(lines, shellLine{text: now, cut: true})
	}
	return lines
}

// shellFields parts a line at blanks and tabs that no backslash stands before,
// and takes the backslashes away.
func shellFields(line []byte) (fields []string) {
	var now []byte
	in := false
	for i := 0; i < len(line); i++ {
		switch b := line[i]; {
		case b == '\\' && i+1 < len(line):
			i++
			now, in = append(now, line[i]), true
		case b == ' ' || b == '\t':
			if in {
				fields = append(fields, string(now))
			}
			now, in = nil, false
		default:
			now, in = append(now, b), true
		}
	}
	if in {
		fields = append(fields, string(now))
	}
	return fields
}

// confLineOf reads a line; why tells why live-boot skips it. One that says
// nothing has no kind.
func confLineOf(line []byte) (l confLine, why string) {
	f := shellFields(line)
	if len(f) == 0 || strings.HasPrefix(strings.TrimLeft(f[0], "\r\v\f"), "#") || strings.Trim(f[0], "\r\v\f") == "" {
		return l, ""
	}
	// The shell parts an unquoted $dir once more.
	dir := trimPath(strings.FieldsFunc(f[0], func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' })[0])
	if why := unsafeMount(f[0]); why != "" {
		return l, tree.Escape(f[0]) + " " + why
	}
	if len(line) >= pathMax {
		return l, "names a longer path than there can be"
	}
	l.dir = dir
	source := ""
	kind := "bind"
	for _, o := range strings.FieldsFunc(strings.Join(f[1:], " "), func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		switch {
		case o == "union", o == "bind":
			kind = o
		case o == "link":
			kind, l.link = o, true
		case strings.HasPrefix(o, "source="):
			source = strings.TrimPrefix(o, "source=")
		default:
			return l, fmt.Sprintf("%q is an option that live-boot does not take", tree.Escape(o))
		}
	}
	switch {
	case source == "":
		l.source = dir
	case source == ".":
		l.source = ""
	case strings.HasPrefix(source, "/") || dotted(source):
		return l, "its source is no relative path without . and .."
	default:
		l.source = trimPath(source)
	}
	l.kind = kind
	l.key = path.Join("/root", dir) + " " + strings.Join(f[1:], " ")
	return l, ""
}

// nested tells that two lines have the same source, or one in that of another, at
// which live-boot panics; "" where there are none.
func nested(lines []confLine) string {
	sorted := slices.SortedStableFunc(slices.Values(lines), func(a, b confLine) int { return cmp.Compare(a.source, b.source) })
	for i := 1; i < len(sorted); i++ {
		a, b := sorted[i-1], sorted[i]
		if a.source == "" || b.source == a.source || strings.HasPrefix(b.source, a.source+"/") {
			return fmt.Sprintf("the lines of /%s and /%s have the same source, or one in that of the other, at which live-boot stops",
				tree.Escape(a.dir), tree.Escape(b.dir))
		}
	}
	return ""
}

// unsafeMount tells why live-boot skips a directory (get_custom_mounts), "" where
// it does not.
func unsafeMount(dir string) string {
	clean := "/" + trimPath(dir)
	switch {
	case !strings.HasPrefix(dir, "/"):
		return "is no absolute path"
	case dotted(dir):
		return "has . or .. in it"
	case strings.HasPrefix(clean, "/lib"):
		return "is in a place that begins with /lib"
	case clean == "/run/live" || strings.HasPrefix(clean, "/run/live/"):
		return "is live-boot's own"
	}
	return ""
}

// dotted reports whether a part of a path is . or ...
func dotted(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}

// trimPath takes slashes away that mean nothing, also the first.
func trimPath(path string) string {
	return strings.Join(strings.FieldsFunc(path, func(r rune) bool { return r == '/' }), "/")
}

// confUnions returns the unions of the persistence.conf in a directory: none where
// there is no such file.
func confUnions(at Place, dir string) ([]union, error) {
	text, err := ReadSmall(at, filepath.Join(dir, livebootConf), persistenceConfMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	conf, err := parsePersistenceConf(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return conf.unions, nil
}
