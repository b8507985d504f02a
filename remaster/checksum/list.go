package checksum

import (
	"bytes"
	"encoding/hex"
	"path"
	"slices"
	"strings"
)

// MaxList bounds what is to be read of a list, in bytes.
const MaxList = 32 << 20

// List is a list of sums. Its lines keep their bytes.
type List struct {
	// Path is the list's own, relative to the root of the medium, with slashes.
	Path string
	// Kind is the digest that the list's name tells, "" where it tells none.
	Kind  Kind
	Lines []Line
	// Unknown counts the lines that are neither a sum nor a comment, nor empty.
	Unknown int
	// Signed: the list is the text of an OpenPGP signature around it, which holds
	// for these very bytes.
	Signed bool
}

// Line is a line of a list. Where it is no sum, Kind is "".
type Line struct {
	text string // with its end
	at   int    // where the sum stands in text
	Kind Kind
	Sum  string // in hexadecimal, as it stands
	// Name is the file's name as the list has it, without quoting; "" where the
	// line is a sum alone, or of the standard input.
	Name string
}

// Parse reads a list of sums of that kind, "" where each line tells its own.
func Parse(at string, kind Kind, text []byte) *List {
	l := &List{Path: at, Kind: kind}
	for line := range bytes.Lines(text) {
		n := parseLine(string(line), kind)
		if trimmed := strings.TrimSpace(n.text); n.Kind == "" && trimmed != "" && trimmed[0] != '#' && trimmed[0] != ';' {
			if trimmed == "-----BEGIN PGP SIGNED MESSAGE-----" {
				l.Signed = true
			}
			l.Unknown++
		}
		l.Lines = append(l.Lines, n)
	}
	return l
}

// parseLine finds the sum and the name in a line: "SUM  NAME", "SUM *NAME",
// "SUM NAME" and "SUM" as coreutils take them, with \ before the sum where the
// name is quoted, or "MD5 (NAME) = SUM" as BSD's tools and openssl have it.
func parseLine(text string, kind Kind) Line {
	line := strings.TrimRight(text, "\r\n")
	at := len(line) - len(strings.TrimLeft(line, " \t"))
	quoted := strings.HasPrefix(line[at:], `\`)
	if quoted {
		at++
	}
	fits := func(sum string, tag Kind) Kind {
		k := ofDigits(len(sum))
		if _, err := hex.DecodeString(sum); err != nil || k == "" {
			return ""
		}
		if want := tag; want != "" && want != k || tag == "" && kind != "" && kind != k {
			return ""
		}
		return k
	}
	sum, name := line[at:], ""
	if i := strings.IndexAny(sum, " \t"); i >= 0 {
		sum, name = sum[:i], sum[i+1:]
		if strings.HasPrefix(name, " ") || strings.HasPrefix(name, "*") {
			name = name[1:]
		}
	}
	if k := fits(sum, ""); k != "" {
		return Line{text: text, at: at, Kind: k, Sum: sum, Name: unquoted(name, quoted)}
	}
	open, end := strings.IndexByte(line[at:], '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < at+open {
		return Line{text: text}
	}
	tag := tagged(strings.TrimRight(line[at:at+open], " "))
	name = line[at+open+1 : end]
	rest := strings.TrimLeft(line[end+1:], " ")
	if tag == "" || !strings.HasPrefix(rest, "=") {
		return Line{text: text}
	}
	sum = strings.TrimSpace(rest[1:])
	if fits(sum, tag) == "" {
		return Line{text: text}
	}
	return Line{text: text, at: end + 1 + strings.Index(line[end+1:], sum), Kind: tag, Sum: sum, Name: unquoted(name, quoted)}
}

// unquoted is a name as it was before it was written into a line.
func unquoted(name string, quoted bool) string {
	if name == "-" {
		return "" // what was summed had no name
	}
	if quoted {
		return strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r").Replace(name)
	}
	return name
}

// FormatLine is the line, with its end, that the tool of a digest writes for a
// file.
func FormatLine(sum, name string) string {
	if quoted := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`).Replace(name); quoted != name {
		return `\` + sum + "  " + quoted + "\n"
	}
	return sum + "  " + name + "\n"
}

// Text is the line with its end.
func (l *Line) Text() string { return l.text }

// Is reports whether the line has that sum.
func (l *Line) Is(sum string) bool { return strings.EqualFold(l.Sum, sum) }

// Set returns the line another sum of the same kind, in hexadecimal. Upper case
// stays upper case.
func (l *Line) Set(sum string) {
	if l.Sum == strings.ToUpper(l.Sum) && l.Sum != strings.ToLower(l.Sum) {
		sum = strings.ToUpper(sum)
	}
	l.text = l.text[:l.at] + sum + l.text[l.at+len(l.Sum):]
	l.Sum = sum
}

// Bytes is the text of the list.
func (l *List) Bytes() []byte {
	var b bytes.Buffer
	for _, line := range l.Lines {
		b.WriteString(line.text)
	}
	return b.Bytes()
}

// Clone is a copy that can be changed by itself.
func (l *List) Clone() *List {
	c := *l
	c.Lines = slices.Clone(l.Lines)
	return &c
}

// Sums is how many lines are sums.
func (l *List) Sums() (n int) {
	for _, line := range l.Lines {
		if line.Kind != "" {
			n++
		}
	}
	return n
}

// Paths returns the files that a line may be of, relative to the root of the
// medium, the likeliest first: by the list's own directory, as the tools take
// it when they run there, and by those above, for lists in .disk and the like.
// No path leads out of the medium. A line that is no sum has none.
func (l *List) Paths(line *Line) []string {
	if line.Kind == "" {
		return nil
	}
	dir, own := path.Split(l.Path)
	dir = strings.Trim(dir, "/")
	var out []string
	add := func(at string) {
		at = strings.Trim(path.Clean("/"+at), "/")
		if at != "" && !slices.Contains(out, at) {
			out = append(out, at)
		}
	}
	if line.Name != "" {
		if strings.HasPrefix(line.Name, "/") {
			add(line.Name)
		}
		for at := dir; ; at = parent(at) {
			add(at + "/" + line.Name)
			if at == "" {
				break
			}
		}
	}
	// A list that is named after one file is of that one, by whatever path it had
	// when it was summed.
	if ext := path.Ext(own); ext != "" {
		if about := strings.TrimSuffix(own, ext); line.Name == "" || path.Base(line.Name) == about && l.Sums() == 1 {
			add(dir + "/" + about)
		}
	}
	return out
}

func parent(dir string) string {
	if i := strings.LastIndexByte(dir, '/'); i >= 0 {
		return dir[:i]
	}
	return ""
}

// Target returns the file that a line is of: the first of [List.Paths] that is
// there, else the likeliest. It is "" of a line that is no sum, or of no file.
func (l *List) Target(line *Line, there func(at string) bool) string {
	paths := l.Paths(line)
	for _, at := range paths {
		if there(at) {
			return at
		}
	}
	if len(paths) == 0 {
		return ""
	}
	return paths[0]
}
